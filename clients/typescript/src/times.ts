import { create } from "@bufbuild/protobuf";
import { DurationSchema, type Duration, type Timestamp } from "@bufbuild/protobuf/wkt";

import { refused } from "./errors.js";

/** The longest duration that protobuf knows, in seconds. */
const longest = 315_576_000_000;

/** The milliseconds of a duration. */
export function milliseconds(duration: Duration): number {
  return Number(duration.seconds) * 1000 + duration.nanos / 1e6;
}

/** The milliseconds from one moment of the server's to another. */
export function between(from: Timestamp, to: Timestamp): number {
  return Number(to.seconds - from.seconds) * 1000 + (to.nanos - from.nanos) / 1e6;
}

/** The duration of a request's field; undefined, or 0, is one that is not set. */
export function duration(field: string, ms: number | undefined): Duration | undefined {
  if (ms === undefined || ms === 0) {
    return undefined;
  }
  const seconds = Math.trunc(ms / 1000);
  if (!(Math.abs(seconds) <= longest)) {
    throw refused(field, "is no duration");
  }
  return create(DurationSchema, { seconds: BigInt(seconds), nanos: Math.trunc((ms - seconds * 1000) * 1e6) });
}
