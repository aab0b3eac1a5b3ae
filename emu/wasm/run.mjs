// Runs the WebAssembly module that is its argument and prints its report; fails unless all passed.
import { readFileSync } from "node:fs";

const { instance } = await WebAssembly.instantiate(readFileSync(process.argv[2]));
const { memory, run } = instance.exports;
const result = BigInt.asUintN(64, run());
const [address, length] = [Number(result & 0xffffffffn), Number(result >> 32n)];
const report = new TextDecoder().decode(new Uint8Array(memory.buffer, address, length));
process.stdout.write(report);
process.exit(/^DONE passed=[1-9]\d* failed=0$/m.test(report) ? 0 : 1);
