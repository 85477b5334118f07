// Made-up hours of New York flights for the mock: the shape of the real year (rush hours, seasons, bad days), no real row.

const HOUR_MS = 3_600_000;
const ORIGINS = { EWR: 21, JFK: 20, LGA: 19 };
export const YEAR_START = Date.UTC(2013, 0, 1);

function noise(seed) {
  const x = Math.sin(seed * 12.9898) * 43758.5453;
  return x - Math.floor(x);
}

/** One row of delays_per_hour: origin, window start, flights, mean delay; null where nobody flies. */
function windowOf(origin, hour, index) {
  const ofDay = hour % 24;
  if (ofDay < 5 || ofDay > 23) return null;
  const day = Math.floor(hour / 24);
  const rush = 0.55 + 0.45 * Math.exp(-(((ofDay - 8) / 3) ** 2)) + 0.4 * Math.exp(-(((ofDay - 17) / 3) ** 2));
  const flights = Math.max(1, Math.round(ORIGINS[origin] * rush * (0.85 + 0.3 * noise(hour * 3 + index))));
  const storm = noise(day + 7) > 0.9 ? 35 : 0;
  const delay = -3 + (ofDay - 5) * 1.4 + storm * Math.max(0, (ofDay - 10) / 12) + 9 * (noise(hour * 5 + index * 11) - 0.4);
  const iso = new Date(YEAR_START + hour * HOUR_MS).toISOString().slice(0, 19);
  return [origin, iso, flights, Math.round(delay * 100) / 100];
}

/** All rows of the hours before `hours`, newest first, at most `limit`. */
export function windowsBefore(hours, limit) {
  const rows = [];
  for (let hour = hours - 1; hour >= 0 && rows.length < limit; hour -= 1) {
    for (const [index, origin] of Object.keys(ORIGINS).entries()) {
      const row = windowOf(origin, hour, index);
      if (row && rows.length < limit) rows.push(row);
    }
  }
  return rows;
}
