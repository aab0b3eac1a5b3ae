// Opens a page of `qgemm report` in headless Chromium, at two widths in both colour schemes, and fails if a chart is empty, if the
// page is wider than the window, if a script fails, if it asks for anything from a network, or if a choice changes nothing.
//
//   node look.mjs PAGE FOLDER     screenshots go to FOLDER
import { chromium } from "playwright-core";
import { PNG } from "pngjs";
import { mkdirSync } from "node:fs";
import { resolve } from "node:path";
import { pathToFileURL } from "node:url";

const [page, folder] = process.argv.slice(2);
mkdirSync(folder, { recursive: true });
const faults = [];
const fault = (text) => {
  faults.push(text);
  console.error(text);
};

// How many pixels are not of the most frequent colour, as a share.
function painted(image) {
  const { data } = PNG.sync.read(image);
  const counts = new Map();
  for (let i = 0; i < data.length; i += 4) {
    const color = (data[i] << 16) | (data[i + 1] << 8) | data[i + 2];
    counts.set(color, (counts.get(color) ?? 0) + 1);
  }
  return { share: 1 - Math.max(...counts.values()) / (data.length / 4), colors: counts.size };
}

// Chromium's own requests would wait for a network that is not there.
const quiet = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
  "--disable-component-update", "--disable-sync"];
const browser = await chromium.launch({ executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium", args: quiet });
for (const [size, width] of [["desk", 1280], ["phone", 390]]) {
  for (const colorScheme of ["light", "dark"]) {
    const name = `${size}-${colorScheme}`;
    const tab = await browser.newPage({ viewport: { width, height: 900 }, colorScheme });
    tab.on("pageerror", (error) => fault(`${name}: ${error}`));
    tab.on("console", (message) => message.type() === "error" && fault(`${name}: ${message.text()}`));
    tab.on("request", (request) => /^(file|data):/.test(request.url()) || fault(`${name}: asks for ${request.url()}`));
    await tab.goto(pathToFileURL(resolve(page)).href);
    const sections = await tab.$$("main section");
    if (sections.length !== 6) fault(`${name}: ${sections.length} charts, not 6`);
    for (const section of sections) {
      const of = `${name}, ${await section.getAttribute("id")}`;
      const marks = await section.$$eval(".chart svg circle, .chart svg rect, .chart svg path", (all) =>
        all.filter((mark) => mark.getBoundingClientRect().width + mark.getBoundingClientRect().height > 0).length);
      if (marks < 3) fault(`${of}: ${marks} marks`);
      const chart = await section.$(".chart svg:last-of-type");
      const { share, colors } = chart ? painted(await chart.screenshot()) : { share: 0, colors: 0 };
      if (share < 0.01 || colors < 5) fault(`${of}: ${(100 * share).toFixed(1)} % painted, in ${colors} colours`);
      const rows = await section.$$eval("details tbody tr", (all) => all.length);
      if (rows === 0) fault(`${of}: no numbers`);
    }
    const overflow = await tab.evaluate(() => document.documentElement.scrollWidth - window.innerWidth);
    if (overflow > 0) fault(`${name}: ${overflow} pixels wider than the window`);
    await tab.screenshot({ path: `${folder}/${name}.png`, fullPage: true });

    // Each selector with a choice, by the keyboard alone: the page must look different afterwards.
    for (const selector of ["cpu", "threads", "kernel", "variant"]) {
      const choices = await tab.$$eval(`#${selector} option`, (all) => all.length);
      if (choices < 2) continue;
      const drawn = () => tab.$eval("main", (main) => main.innerHTML);
      const before = await drawn();
      await tab.focus(`#${selector}`);
      await tab.keyboard.press("ArrowDown");
      if ((await drawn()) === before) fault(`${name}: another choice of ${selector} changes nothing`);
    }
    await tab.close();
  }
}
await browser.close();
process.exit(faults.length > 0 ? 1 : 0);
