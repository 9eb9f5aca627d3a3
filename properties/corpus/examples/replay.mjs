// Replays the corpus on a batch norm in JavaScript: node replay.mjs [-a] ../mutants.json ../edges.json
// Entries marked core, or all with -a. Put your kernel in the place of train, evaluate and back.
// Conventions here: momentum keeps, biased running variance; float32 results are rounded.
import { readFileSync } from "node:fs";

const FLOAT = /^(-?)0x([01])(?:\.([0-9a-f]+))?p([+-]\d+)$/;

/** A C99 hexadecimal float, nan, inf or -inf. */
function number(text) {
  const found = FLOAT.exec(text);
  if (!found) return { nan: NaN, inf: Infinity, "-inf": -Infinity }[text];
  const [, sign, whole, fraction = "", exponent] = found;
  let value = parseInt(whole + fraction, 16);
  let power = Number(exponent) - 4 * fraction.length;
  while (power > 900) (value *= 2 ** 900), (power -= 900);
  while (power < -900 && value !== 0) {
    const step = Math.min(900, -power - 120);
    (value *= 2 ** -step), (power += step);
  }
  return (sign ? -1 : 1) * value * 2 ** power;
}

function numbers(array, key = "data") {
  const part = array[key].map(number);
  return Array.from({ length: part.length * (array.repeat ?? 1) }, (_, i) => part[i % part.length]);
}

function* places(b, k) {
  for (let i = 0; i < b.n; i++)
    for (let j = 0; j < b.s; j++) yield (i * b.c + k) * b.s + j;
}

const channels = (b) => Array.from({ length: b.c }, (_, k) => k);

function train(b, eps) {
  const m = b.n * b.s;
  const sum = (k, f) => [...places(b, k)].reduce((total, q) => total + f(q), 0);
  b.mean = channels(b).map((k) => sum(k, (q) => b.x[q]) / m);
  b.var = channels(b).map((k) => sum(k, (q) => (b.x[q] - b.mean[k]) ** 2) / m);
  b.rstd = b.var.map((v) => 1 / Math.sqrt(v + eps));
}

function output(b, beta) {
  const y = new Array(b.x.length);
  for (const k of channels(b))
    for (const q of places(b, k))
      y[q] = b.out((b.x[q] - b.mean[k]) * b.rstd[k] * (b.gamma?.[k] ?? 1) + (beta?.[k] ?? 0));
  return y;
}

function back(b, dy) {
  const dx = new Array(dy.length), dgamma = [], dbeta = [], m = b.n * b.s;
  for (const k of channels(b)) {
    const at = [...places(b, k)], xhat = (q) => (b.x[q] - b.mean[k]) * b.rstd[k];
    const sum = at.reduce((total, q) => total + dy[q], 0);
    const along = at.reduce((total, q) => total + dy[q] * xhat(q), 0);
    for (const q of at) {
      const path = b.training ? sum / m + (xhat(q) * along) / m : 0;
      dx[q] = b.out((b.gamma?.[k] ?? 1) * b.rstd[k] * (dy[q] - path));
    }
    dgamma.push(b.out(along)), dbeta.push(b.out(sum));
  }
  return { dx, dgamma, dbeta };
}

/** The names of the results that lie outside their radius. */
function wrong(call, results) {
  return Object.entries(call.expected).filter(([name, wanted]) => {
    const value = numbers(wanted, "value"), radius = numbers(wanted, "radius");
    return value.some((v, i) => {
      if (radius[i] === Infinity) return false;
      const got = results[name][i];
      return Number.isNaN(v) ? !Number.isNaN(got) : !(Math.abs(got - v) <= radius[i]);
    });
  }).map(([name]) => `${call.call} ${name}`);
}

/** What is wrong, or null where something is not offered. */
function replay(calls) {
  const saved = [], bad = [];
  for (const call of calls) {
    if (call.call === "forward_train" || call.call === "forward_eval") {
      if (!["float32", "float64"].includes(call.x.dtype)) return null;
      if (call.mask) return null; // this kernel takes none
      const [n, c, ...rest] = call.x.shape, optional = (a) => (a === null ? null : numbers(a));
      const b = { n, c, s: rest.reduce((p, v) => p * v, 1), x: numbers(call.x), gamma: optional(call.gamma) };
      b.out = call.x.dtype === "float32" ? Math.fround : (v) => v;
      b.training = call.call === "forward_train";
      if (b.training) train(b, number(call.eps));
      else {
        b.mean = numbers(call.running_mean);
        b.rstd = numbers(call.running_var).map((v) => 1 / Math.sqrt(v + number(call.eps)));
      }
      saved.push(b);
      bad.push(...wrong(call, { mean: b.mean, var: b.var, y: output(b, optional(call.beta)) }));
    } else if (call.call.startsWith("backward_")) {
      bad.push(...wrong(call, back(saved[call.saved], numbers(call.dy))));
      saved.push(null);
    } else return null;
  }
  return bad;
}

const all = process.argv[2] === "-a";
const counts = { pass: 0, fail: 0, "not offered": 0 };
for (const file of process.argv.slice(all ? 3 : 2))
  for (const [key, entry] of Object.entries(JSON.parse(readFileSync(file, "utf8")))) {
    if (!all && !entry.core) continue;
    const bad = replay(entry.calls);
    if (bad?.length) console.log(`FAIL ${key}: ${bad.join(", ")}`);
    counts[bad === null ? "not offered" : bad.length ? "fail" : "pass"]++;
  }
console.log(Object.entries(counts).map(([verdict, count]) => `${count} ${verdict}`).join(", "));
process.exitCode = counts.fail > 0 ? 1 : 0;
