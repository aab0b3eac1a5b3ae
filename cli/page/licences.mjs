// Prints the licence of each npm package that a bundle holds, by the bundler's list of its inputs.
import { readFileSync, readdirSync } from "node:fs";

const { inputs } = JSON.parse(readFileSync(process.argv[2]));
const folder = (path) => path.match(/^.*node_modules\/(@[^/]+\/)?[^/]+/)?.[0];
const packages = [...new Set(Object.keys(inputs).map(folder).filter(Boolean))].sort();
for (const path of packages) {
  const { name, version, license } = JSON.parse(readFileSync(`${path}/package.json`));
  const file = readdirSync(path).find((file) => /^licen[cs]e/i.test(file));
  const text = file ? readFileSync(`${path}/${file}`, "utf8").trim() : `Licence: ${license}`;
  console.log(`${name} ${version}\n\n${text}\n`);
}
