/** Starts the mock; resolves to its address and a way to stop it. */
export function start(port?: number): Promise<{ url: string; stop: () => void }>;
