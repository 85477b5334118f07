// The few cron lines that nearly everyone writes, as words; the rest stay cron.

export interface Told {
  key: "cron.daily" | "cron.hourly";
  values: Record<string, string>;
}

export function tellCron(cron: string): Told | null {
  const [minute = "", hour = "", ...rest] = cron.trim().split(/\s+/);
  if (rest.join(" ") !== "* * *" || !/^\d{1,2}$/.test(minute)) return null;
  if (/^\d{1,2}$/.test(hour)) return { key: "cron.daily", values: { time: `${hour.padStart(2, "0")}:${minute.padStart(2, "0")}` } };
  return hour === "*" ? { key: "cron.hourly", values: { minute } } : null;
}
