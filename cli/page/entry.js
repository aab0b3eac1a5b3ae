// What the page uses of Observable Plot, for the bundle.
export { plot, dot, line, barX, ruleX, ruleY, text, tip, pointer, pointerY, axisX, axisY, gridX, gridY } from "@observablehq/plot";
