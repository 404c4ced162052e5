// The libraries that are no modules: their scripts stand before the page's module in <head> with `defer`, so they are here first.

export const L = window.L;
export const uPlot = window.uPlot;
export const topojson = window.topojson;
