// Filters and charts over a cube of counts: loads nothing, works from the data in this page.
"use strict";
(async () => {
  const HOURS = 24, LONGEST = 15;
  const DIMENSIONS = ["county", "place", "code", "month", "hour"];
  const section = document.getElementById("explore");
  if (typeof DecompressionStream === "undefined") return;  // the section stays hidden
  const data = JSON.parse(document.getElementById("explore-data").textContent);
  const unzip = (text) => {
    const bytes = Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
    return new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip")));
  };
  (0, eval)(await unzip(data.vega).text());
  const select = Object.fromEntries(["source", ...DIMENSIONS].map((name) => [name, document.getElementById(`by-${name}`)]));
  const number = (n) => n.toLocaleString("en-US");
  let cube, filters, charts = [];

  // The cube of a source: names by dimension, and for each place of it the numbers of its county and its own name.
  async function load(source) {
    const bytes = new Uint8Array(await unzip(source.counts).arrayBuffer());
    const size = bytes.length / 4, counts = new Uint32Array(size);
    for (let at = 0; at < size; at++)
      counts[at] = bytes[at] + (bytes[size + at] << 8) + (bytes[2 * size + at] << 16) + bytes[3 * size + at] * 2 ** 24;
    const unique = (names) => [...new Set(names)];
    const names = {
      county: unique(source.counties).sort(), place: unique(source.places), code: source.codes, month: source.months,
      hour: Array.from({ length: HOURS }, (_, hour) => `${hour}:00–${hour}:59`),
    };
    const numbers = (of, all) => of.map((name) => all.indexOf(name));
    return {
      source, counts, names, all: counts.reduce((sum, n) => sum + n, 0),
      county: numbers(source.counties, names.county), place: numbers(source.places, names.place),
    };
  }

  // By dimension the counts that all filters but that dimension's own let through, and what all of them let through.
  function count() {
    const found = Object.fromEntries(DIMENSIONS.map((name) => [name, new Float64Array(cube.names[name].length)]));
    const missed = (name, at) => (filters[name] !== null && filters[name] !== at ? 1 : 0);
    let at = 0, total = 0;
    for (let p = 0; p < cube.place.length; p++) {
      const county = cube.county[p], place = cube.place[p];
      const noCounty = missed("county", county), noPlace = missed("place", place);
      for (let code = 0; code < cube.names.code.length; code++) {
        const noCode = missed("code", code);
        for (let month = 0; month < cube.names.month.length; month++) {
          const noMonth = missed("month", month), misses = noCounty + noPlace + noCode + noMonth;
          for (let hour = 0; hour < HOURS; hour++) {
            const n = cube.counts[at++];
            if (n === 0 || misses > 1) continue;
            const noHour = missed("hour", hour), none = misses + noHour === 0;
            if (misses + noHour > 1) continue;
            if (none) total += n;
            if (none || noCounty) found.county[county] += n;
            if (none || noPlace) found.place[place] += n;
            if (none || noCode) found.code[code] += n;
            if (none || noMonth) found.month[month] += n;
            if (none || noHour) found.hour[hour] += n;
          }
        }
      }
    }
    return { found, total };
  }

  const color = () => `var(--${cube.source.name})`;
  const text = { labelColor: "var(--muted)", titleColor: "var(--muted)", labelFontSize: 12, titleFontSize: 12, titleFontWeight: "normal", domain: false, ticks: false };
  const shown = { signal: "datum.on ? 1 : 0.3" };
  const tip = { signal: "datum.name + ': ' + format(datum.n, ',')" };
  const base = (width, height) => ({
    width, height, background: null, padding: { left: 0, right: 8, top: 4, bottom: 4 },
    autosize: { type: "fit", contains: "padding" }, config: { aria: false }, data: [{ name: "table", values: [] }],
  });
  const columns = (width) => ({
    ...base(width, 220),
    scales: [
      { name: "x", type: "band", domain: { data: "table", field: "name" }, range: "width", padding: 0.12 },
      { name: "y", domain: { data: "table", field: "n" }, range: "height", zero: true, nice: true },
    ],
    axes: [
      { ...text, orient: "left", scale: "y", grid: true, gridColor: "var(--line)", tickCount: 4, format: ",~f" },
      { ...text, orient: "bottom", scale: "x", labelOverlap: true, encode: { labels: { update: { text: { signal: "split(datum.value, ':')[0]" } } } } },
    ],
    marks: [{
      type: "rect", from: { data: "table" },
      encode: { update: {
        x: { scale: "x", field: "name" }, width: { scale: "x", band: 1 }, y: { scale: "y", field: "n" },
        y2: { scale: "y", value: 0 }, fill: { value: color() }, opacity: shown, tooltip: tip, cursor: { value: "pointer" },
      } },
    }],
  });
  const ranking = (width, rows) => ({
    ...base(width, 38 * rows + 24),
    scales: [
      { name: "y", type: "band", domain: { data: "table", field: "name" }, range: "height" },
      { name: "x", domain: { data: "table", field: "n" }, range: "width", zero: true },
    ],
    axes: [{ ...text, orient: "bottom", scale: "x", tickCount: Math.ceil(width / 180), format: ",~f" }],
    marks: [
      { type: "text", from: { data: "table" }, encode: { update: {
        y: { scale: "y", field: "name", offset: 16 }, text: { field: "name" }, fill: { value: "var(--ink)" },
        fontSize: { value: 12 }, limit: { signal: "width - 70" } } } },
      { type: "text", from: { data: "table" }, encode: { update: {
        y: { scale: "y", field: "name", offset: 16 }, x: { signal: "width" }, align: { value: "right" },
        text: { signal: "format(datum.n, ',')" }, fill: { value: "var(--muted)" }, fontSize: { value: 12 } } } },
      { type: "rect", from: { data: "table" }, encode: { update: {
        y: { scale: "y", field: "name", offset: 22 }, height: { value: 9 }, x: { scale: "x", value: 0 },
        x2: { scale: "x", field: "n" }, fill: { value: color() }, opacity: shown, tooltip: tip, cursor: { value: "pointer" } } } },
    ],
  });
  const map = (width) => {
    const scaled = { scaleX: { signal: "width / 1000" }, scaleY: { signal: "width / 1000" } };
    return {
      ...base(width, width),
      autosize: "none",
      data: [{ name: "outlines", values: data.outlines.map((path) => ({ path })) }, { name: "table", values: [] }],
      scales: [{ name: "shade", domain: { data: "table", field: "n" }, range: [0.15, 1], zero: true }],
      marks: [
        { type: "path", from: { data: "outlines" }, interactive: false, encode: { update: {
          ...scaled, path: { field: "path" }, fill: { value: "var(--band)" }, stroke: { value: "var(--line)" } } } },
        { type: "path", from: { data: "table" }, encode: { update: {
          ...scaled, path: { field: "path" }, fill: { value: color() }, fillOpacity: { scale: "shade", field: "n" },
          stroke: { signal: "datum.chosen ? 'var(--ink)' : 'var(--page)'" }, strokeWidth: { signal: "datum.chosen ? 2 : 0.5" },
          tooltip: tip, cursor: { value: "pointer" } } } },
      ],
    };
  };

  const rowsOf = (name, found) => cube.names[name].map((label, key) => ({
    key, name: label, n: found[name][key], on: filters[name] === null || filters[name] === key, chosen: filters[name] === key,
  }));
  const ranked = (name) => (found) => rowsOf(name, found).filter((row) => row.n || row.chosen).sort((a, b) => b.n - a.n);
  const inOrder = (name) => (found) => rowsOf(name, found).filter((row) => row.n || row.chosen || !row.name.startsWith("other "));
  const mapped = (found) => rowsOf(cube.source.mapped, found).filter((row) => row.name in cube.source.shapes)
    .map((row) => ({ ...row, path: cube.source.shapes[row.name] }));
  const CHARTS = [
    { id: "hours", by: () => "hour", rows: inOrder("hour"), spec: columns, title: () => "Violations by hour of the day" },
    { id: "months", by: () => "month", rows: inOrder("month"), spec: columns, title: () => `Violations by ${cube.source.month}` },
    { id: "codes", by: () => "code", rows: ranked("code"), spec: ranking, longest: LONGEST, title: () => "Violations by code" },
    { id: "places", by: () => "place", rows: ranked("place"), spec: ranking, longest: LONGEST, title: () => `Violations by ${cube.source.place}` },
    { id: "map", by: () => cube.source.mapped, rows: mapped, spec: map, title: () => `Map of New York: violations by ${cube.source.mapped === "county" ? "county" : cube.source.place}, the stronger the colour, the more` },
  ];

  function element(name, content) {
    const made = document.createElement(name);
    made.textContent = content;
    return made;
  }

  function tabulate(body, rows, total) {
    body.replaceChildren(...rows.map((row) => {
      const line = document.createElement("tr"), head = element("th", row.name);
      head.scope = "row";
      line.append(head, element("td", number(row.n)), element("td", total ? `${(100 * row.n / total).toFixed(1)}\u00a0%` : ""));
      return line;
    }));
  }

  function update() {
    const { found, total } = count();
    document.getElementById("explore-total").textContent = `${number(total)} of ${number(cube.all)} violations of the ${cube.source.name}`;
    for (const chart of charts) chart.finalize();
    charts = CHARTS.map(({ id, by, rows, spec, longest, title }) => {
      const figure = document.getElementById(`explore-${id}`), drawn = figure.querySelector(".drawn");
      const all = rows(found), few = longest ? all.filter((row, at) => at < longest || row.chosen) : all;
      const most = all.reduce((a, b) => (b.n > a.n ? b : a), { name: "none", n: 0 });
      const sum = found[by()].reduce((a, b) => a + b, 0);
      figure.querySelector("figcaption").textContent = title() + (longest && all.length > few.length ? `: the first ${few.length} of ${all.length}` : "");
      drawn.setAttribute("aria-label", `${title()}: most ${most.name} with ${number(most.n)}`);
      tabulate(figure.querySelector("tbody"), all, sum);
      drawn.replaceChildren();
      const view = new vega.View(vega.parse(spec(Math.min(drawn.clientWidth, id === "map" ? 560 : 700), few.length)), { container: drawn, renderer: "svg", hover: false });
      view.data("table", few);
      view.addEventListener("click", (_, item) => {
        const key = item?.datum?.key;
        if (key === undefined) return;
        filters[by()] = filters[by()] === key ? null : key;
        select[by()].value = filters[by()] ?? "";
        update();
      });
      view.run();
      drawn.firstElementChild.setAttribute("aria-hidden", "true");  // the name is around it
      return view;
    });
  }

  function options(name) {
    const counties = new Set(cube.place.filter((_, at) => filters.county === null || cube.county[at] === filters.county));
    const all = element("option", "all");
    all.value = "";
    const some = cube.names[name].map((label, at) => {
      const option = element("option", label);
      option.value = at;
      return option;
    }).filter((option) => name !== "place" || counties.has(Number(option.value)));
    if (name === "place" || name === "code") some.sort((a, b) => a.text.localeCompare(b.text, "en", { numeric: true }));
    select[name].replaceChildren(all, ...some);
    select[name].value = filters[name] ?? "";
  }

  async function start() {
    cube = await load(data.sources[select.source.value]);
    showAll();
    document.querySelector("label[for=by-place]").textContent = cube.source.place;
    document.querySelector("label[for=by-month]").textContent = cube.source.month;
    document.getElementById("explore-folded").textContent = cube.source.folded;
  }

  function showAll() {
    filters = Object.fromEntries(DIMENSIONS.map((name) => [name, null]));
    DIMENSIONS.forEach(options);
    update();
  }

  data.sources.forEach((source, at) => {
    const option = element("option", `the ${source.name}`);
    option.value = at;
    select.source.append(option);
  });
  select.source.addEventListener("change", start);
  for (const name of DIMENSIONS)
    select[name].addEventListener("change", () => {
      filters[name] = select[name].value === "" ? null : Number(select[name].value);
      if (name === "county") {
        filters.place = null;
        options("place");
      }
      update();
    });
  document.getElementById("explore-all").addEventListener("click", showAll);
  let width = innerWidth;
  addEventListener("resize", () => {
    if (innerWidth !== width) update();  // a phone's address bar changes the height alone
    width = innerWidth;
  });
  section.hidden = false;
  document.getElementById("to-explore").hidden = false;
  await start();
  section.dataset.ready = "";
})();
