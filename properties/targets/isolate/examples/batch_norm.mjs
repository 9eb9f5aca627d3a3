// A batch norm in JavaScript that bncheck can call: protocol.md, version 1, on standard input and
// output.
//
//     bncheck run "exec:node batch_norm.mjs"
//
// With --wrong its dx lacks the path through the mean where n is more than 8, and is caught.
import { readSync, writeSync } from "node:fs";

const WRONG = process.argv.includes("--wrong");
const CONVENTIONS = {
  momentum: "update", running_var: "biased", statistics: "per_channel", dtypes: ["float32", "float64"],
};

// --- bytes in ------------------------------------------------------------------------------------

function readExactly(size) {
  const bytes = Buffer.alloc(size);
  for (let have = 0; have < size; ) {
    const got = readSync(0, bytes, have, size - have, null);
    if (got === 0) process.exit(have === 0 ? 0 : 2); // the input has ended
    have += got;
  }
  return bytes;
}

function reader(bytes) {
  let at = 0;
  const step = (size, get) => (at += size, get(at - size));
  const u8 = () => step(1, (i) => bytes.readUInt8(i));
  const u32 = () => step(4, (i) => bytes.readUInt32LE(i));
  const u64 = () => Number(step(8, (i) => bytes.readBigUInt64LE(i)));
  const i64 = () => Number(step(8, (i) => bytes.readBigInt64LE(i)));
  const f64 = () => step(8, (i) => bytes.readDoubleLE(i));
  const text = () => { const size = u32(); return step(size, (i) => bytes.toString("utf8", i, i + size)); };
  const array = () => {
    const dtype = text();
    if (dtype !== "<f4" && dtype !== "<f8") throw new Error(`a dtype it has not: ${dtype}`);
    const shape = Array.from({ length: u8() }, i64);
    const data = new Float64Array(shape.reduce((a, b) => a * b, 1));
    for (let i = 0; i < data.length; i++) {
      data[i] = dtype === "<f8" ? f64() : step(4, (j) => bytes.readFloatLE(j));
    }
    const [n = 1, c = 1, ...spatial] = shape;
    return { dtype, shape, data, n, c, inner: spatial.reduce((a, b) => a * b, 1) };
  };
  const value = () => {
    const tag = String.fromCharCode(u8());
    switch (tag) {
      case "N": return null;
      case "A": return array();
      case "F": return f64();
      case "G": return u64();
      default: throw new Error(`a value it has not: ${tag}`);
    }
  };
  const many = (count, get) => Array.from({ length: count }, get);
  return { kind: String.fromCharCode(u8()), u8, u32, u64, text, value, many };
}

// --- bytes out -----------------------------------------------------------------------------------

function number(size, put) {
  const bytes = Buffer.alloc(size);
  put(bytes);
  return bytes;
}
const u8 = (v) => Buffer.from([v]);
const u16 = (v) => number(2, (b) => b.writeUInt16LE(v));
const u32 = (v) => number(4, (b) => b.writeUInt32LE(v));
const u64 = (v) => number(8, (b) => b.writeBigUInt64LE(BigInt(v)));
const i64 = (v) => number(8, (b) => b.writeBigInt64LE(BigInt(v)));
const text = (v) => Buffer.concat([u32(Buffer.byteLength(v)), Buffer.from(v)]);
const nothing = Buffer.from("N");
const several = (parts) => Buffer.concat([Buffer.from("RL"), u32(parts.length), ...parts]);

function array(dtype, shape, data) {
  const size = dtype === "<f8" ? 8 : 4;
  const numbers = Buffer.alloc(size * data.length);
  data.forEach((v, i) => (size === 8 ? numbers.writeDoubleLE(v, 8 * i) : numbers.writeFloatLE(v, 4 * i)));
  return Buffer.concat([Buffer.from("A"), text(dtype), u8(shape.length), ...shape.map(i64), numbers]);
}
const row = (dtype, data) => (data === null ? nothing : array(dtype, [data.length], data));

function send(body) {
  const bytes = Buffer.concat([u32(body.length), body]);
  for (let sent = 0; sent < bytes.length; ) sent += writeSync(1, bytes, sent);
}

// --- batch norm ----------------------------------------------------------------------------------

const kept = new Map(); // saved values by number
let count = 0;

function* places({ n, c, inner }, k) { // where the values of channel k lie
  for (let s = 0; s < n; s++) for (let i = (s * c + k) * inner, end = i + inner; i < end; i++) yield i;
}

function normalize(x, gamma, beta, mean, variance, eps, training) {
  const rstd = variance.map((v) => 1 / Math.sqrt(v + eps));
  const xhat = new Float64Array(x.data.length), y = new Float64Array(x.data.length);
  for (let k = 0; k < x.c; k++) for (const i of places(x, k)) {
    xhat[i] = (x.data[i] - mean[k]) * rstd[k];
    y[i] = (gamma?.data[k] ?? 1) * xhat[i] + (beta?.data[k] ?? 0);
  }
  kept.set(++count, { xhat, rstd, gamma, training });
  return [array(x.dtype, x.shape, y), Buffer.concat([Buffer.from("G"), u64(count)])];
}

function forwardTrain([x, gamma, beta, runningMean, runningVar], { eps, momentum }) {
  const n = x.n * x.inner, mean = new Float64Array(x.c), variance = new Float64Array(x.c);
  for (let k = 0; k < x.c; k++) {
    for (const i of places(x, k)) mean[k] += x.data[i];
    mean[k] /= n;
    for (const i of places(x, k)) variance[k] += (x.data[i] - mean[k]) ** 2;
    variance[k] /= n;
  }
  const [y, saved] = normalize(x, gamma, beta, mean, variance, eps, true);
  const averaged = (old, fresh) => // an empty batch leaves them as they are
    old === null || n === 0 ? old?.data ?? null : old.data.map((v, k) => (1 - momentum) * v + momentum * fresh[k]);
  const state = [averaged(runningMean, mean), averaged(runningVar, variance)];
  return several([y, ...state.map((v) => row(x.dtype, v)), saved]);
}

function forwardEval([x, gamma, beta, runningMean, runningVar], { eps }) {
  return several(normalize(x, gamma, beta, runningMean.data, runningVar.data, eps, false));
}

function backward([dy, number]) {
  const { xhat, rstd, gamma, training } = kept.get(number);
  const n = dy.n * dy.inner, dx = new Float64Array(dy.data.length);
  const dgamma = new Float64Array(dy.c), dbeta = new Float64Array(dy.c);
  for (let k = 0; k < dy.c; k++) {
    for (const i of places(dy, k)) {
      dbeta[k] += dy.data[i];
      dgamma[k] += dy.data[i] * xhat[i];
    }
    const meanPath = WRONG && n > 8 ? 0 : dbeta[k] / n;
    for (const i of places(dy, k)) {
      const through = training ? meanPath + xhat[i] * (dgamma[k] / n) : 0;
      dx[i] = (gamma?.data[k] ?? 1) * rstd[k] * (dy.data[i] - through);
    }
  }
  const parameters = gamma === null ? [null, null] : [dgamma, dbeta];
  return several([array(dy.dtype, dy.shape, dx), ...parameters.map((v) => row(dy.dtype, v))]);
}

const FUNCTIONS = {
  forward_train: forwardTrain, backward_train: backward, forward_eval: forwardEval, backward_eval: backward,
};

// --- calls ---------------------------------------------------------------------------------------

function answer(message) {
  try {
    const name = message.text();
    const args = message.many(message.u8(), message.value);
    const options = Object.fromEntries(message.many(message.u8(), () => [message.text(), message.value()]));
    return FUNCTIONS[name](args, options);
  } catch (error) {
    return Buffer.concat([Buffer.from("E"), text(error.name), text(error.message)]);
  }
}

for (;;) {
  const message = reader(readExactly(readExactly(4).readUInt32LE(0)));
  if (message.kind === "H") {
    const names = Object.keys(FUNCTIONS);
    send(Buffer.concat([
      Buffer.from("H"), u16(1), u8(names.length), ...names.map(text), text(JSON.stringify(CONVENTIONS)),
    ]));
  } else if (message.kind === "C") {
    send(answer(message));
  } else if (message.kind === "D") {
    message.many(message.u32(), () => kept.delete(message.u64()));
  }
}
