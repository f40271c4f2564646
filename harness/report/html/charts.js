"use strict";
// The two charts, drawn by plotly from the JSON in this page, in the colours of the theme.
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const labels = data.labels;
  const charts = [];

  // Plotly reads a little HTML in its texts: names stay text.
  const plain = (text) => String(text).replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");
  const clip = (text, most) => (text.length > most ? `${text.slice(0, most - 1)}…` : text);
  const folded = (text, most) => text.split(" ").reduce((lines, word) => {
    const last = lines.at(-1);
    if (last !== undefined && last.length + word.length < most) lines[lines.length - 1] = last ? `${last} ${word}` : word;
    else lines.push(clip(word, most));
    return lines;
  }, []);
  const short = (value) => value.toFixed(3).replace(/^(-?)0\./, "$1.");
  const figure = (score) => !score ? "–"
    : score.low === null ? short(score.mean) : `${short(score.mean)} [${short(score.low)}, ${short(score.high)}]`;

  const probe = document.createElement("span");
  probe.hidden = true;
  document.body.append(probe);
  const colour = (name) => { probe.style.color = `var(--${name})`; return getComputedStyle(probe).color; };
  const faint = (name, alpha) => colour(name).replace("rgb(", "rgba(").replace(")", `, ${alpha})`);

  const error = (scores, tint) => ({
    type: "data", symmetric: false, color: tint, thickness: 1.2, width: 0,
    array: scores.map((s) => (s.high === null ? 0 : s.high - s.mean)),
    arrayminus: scores.map((s) => (s.low === null ? 0 : s.mean - s.low)),
  });

  const axis = (title, more) => ({
    title: { text: title, standoff: 12, font: { size: 13, color: colour("pale") } }, color: colour("pale"), gridcolor: colour("line"), linecolor: colour("line"),
    zeroline: false, ticks: "outside", tickcolor: colour("line"), fixedrange: true, automargin: true, ...more,
  });

  const layout = (plot, more) => ({
    paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
    font: { family: getComputedStyle(document.body).fontFamily, size: 13, color: colour("ink") },
    margin: { l: 8, r: plot.clientWidth < 560 ? 8 : 24, t: 8, b: 8 },
    hoverlabel: { bgcolor: colour("raised"), bordercolor: colour("line"), font: { color: colour("ink"), size: 13 }, align: "left" },
    legend: { orientation: "h", x: 0, y: 1.02, xanchor: "left", yanchor: "bottom", font: { size: 12 }, itemclick: false, itemdoubleclick: false },
    hovermode: "closest", dragmode: false, ...more,
  });

  const line = (axisName, at, text, tint, dash) => {
    const across = axisName === "y";
    return {
      shape: {
        type: "line", layer: "below", line: { color: tint, width: 1.2, dash },
        ...(across ? { x0: 0, x1: 1, xref: "paper", y0: at, y1: at } : { x0: at, x1: at, y0: 0, y1: 1, yref: "paper" }),
      },
      note: {
        text, showarrow: false, font: { size: 11, color: tint },
        ...(across ? { x: 1, xref: "paper", xanchor: "right", y: at, yanchor: "bottom" }
          : { x: at, xanchor: "left", y: 0, yref: "paper", yanchor: "bottom" }),
      },
    };
  };

  // T = 10, R = 1; where both are equal T alone.
  const times = ({ epochs, releases }, space = " ") => [["T", epochs], ["R", releases === epochs ? null : releases]]
    .filter(([, number]) => number).map(([name, number]) => `${name}${space}=${space}${number}`).join(`,${space}`);

  // Names beside their marks where there is room: the first of some places that meets no other name and no mark.
  const names = (points, measure, others, width, height, [left, right], [bottom, top]) => {
    const x = (value) => ((value - left) / (right - left)) * width;
    const y = (value) => (1 - (value - bottom) / (top - bottom)) * height;
    const marks = points.map((p) => [x(p.worst[measure].mean), y(p.utility.mean)]);
    const taken = [...marks, ...others.map(([ox, oy]) => [x(ox), y(oy)])].map(([px, py]) => [px - 5, py - 5, px + 5, py + 5]);
    const meets = (a, b) => a[0] < b[2] && b[0] < a[2] && a[1] < b[3] && b[1] < a[3];
    return points.flatMap((point, at) => {
      const named = clip(point.label, 48);
      const wide = 7 * named.length + 4;
      const [px, py] = marks[at];
      for (const [dx, dy] of [[9, -9], [9, 9], [-9 - wide, -9], [-9 - wide, 9], [-wide / 2, -15], [-wide / 2, 15], [9, -21], [9, 21]]) {
        const box = [px + dx, py + dy - 8, px + dx + wide, py + dy + 8];
        if (box[0] < 0 || box[2] > width || box[1] < 0 || box[3] > height || taken.some((other) => meets(box, other))) continue;
        taken.push(box);
        return [{
          x: point.worst[measure].mean, y: point.utility.mean, xshift: dx, yshift: -dy, xanchor: "left", yanchor: "middle",
          text: plain(named), showarrow: false, font: { size: 12, color: colour(point.judged ? "ink" : "pale") },
        }];
      }
      return [];
    });
  };

  const about = (point, measure) => [
    `<b>${plain(point.defense)}</b>${point.rank ? `, rank ${point.rank}` : ""}`,
    plain(point.settings), plain([times(point), point.training || ""].filter(Boolean).join(", ")),
    `worst ${labels[measure]} ${figure(point.worst[measure])} (${plain(point.by[measure])})`,
    `release ${labels[measure]} ${figure(point.release[measure])}`,
    `utility ${figure(point.utility)}${point.drop ? `, accuracy drop ${figure(point.drop)}` : ""}`,
    `n = ${point.worst[measure].n} originals, ${point.seeds} seed${point.seeds === 1 ? "" : "s"}`,
    ...(point.missing ? [`not judged: missing ${plain(point.missing).replace(/(.{40,60}?) /g, "$1<br>")}`] : []),
  ].filter(Boolean).join("<br>");

  const nothing = { text: "no figures with these records", showarrow: false, xref: "paper", yref: "paper", x: 0.5, y: 0.5, font: { size: 13, color: "#888888" } };

  const marks = {
    passes: { name: "passes", tint: "passes", symbol: "circle" },
    fails: { name: "does not pass", tint: "fails", symbol: "square" },
    unjudged: { name: "not judged", tint: "pale", symbol: "circle-open" },
  };

  const utility = (chart) => {
    const plot = chart.querySelector(".plot");
    const measure = chart.querySelector("input:checked").value;
    const board = data.boards[chart.dataset.board];
    const limits = board.thresholds;
    const chosen = chart.closest(".board").querySelector(".releases input:checked")?.value;
    const points = board.points.filter((point) => point.utility && point.worst[measure] && (!chosen || !point.releases || point.releases === Number(chosen)));
    const traces = [];
    if (chart.querySelector(".release").checked) {
      const some = points.filter((point) => point.release[measure]);
      traces.push({
        type: "scatter", mode: "lines", hoverinfo: "skip", showlegend: false, line: { color: colour("pale"), width: 1 }, opacity: 0.55,
        x: some.flatMap((p) => [p.release[measure].mean, p.worst[measure].mean, null]), y: some.flatMap((p) => [p.utility.mean, p.utility.mean, null]),
      }, {
        type: "scatter", mode: "markers", name: "before any attack", marker: { symbol: "line-ns-open", size: 9, color: colour("pale"), line: { width: 1.5 } },
        x: some.map((p) => p.release[measure].mean), y: some.map((p) => p.utility.mean),
        hovertext: some.map((p) => `<b>${plain(p.defense)}</b>, before any attack<br>${plain(p.settings)}<br>release ${labels[measure]} ${figure(p.release[measure])}`), hoverinfo: "text",
      });
    }
    const others = [];
    const reported = data.paper.filter((point) => point.distances[measure] !== null);
    for (const box of chart.querySelectorAll(".paper, .intra")) box.disabled = !reported.length;
    if (reported.length) {
      for (const [intra, symbol] of [[false, "diamond-open"], [true, "triangle-up-open"]]) {
        if (!chart.querySelector(intra ? ".intra" : ".paper").checked) continue;
        const some = reported.filter((point) => point.intra_class === intra);
        others.push(...some.map((p) => [p.distances[measure], p.utility]));
        traces.push({
          type: "scatter", mode: "markers", name: `the paper, ${intra ? "intra-class" : "not attacked"}`, marker: { symbol, size: 8, color: colour("amber"), line: { width: 1.3 } }, opacity: 0.8,
          x: some.map((p) => p.distances[measure]), y: some.map((p) => p.utility), hoverinfo: "text",
          hovertext: some.map((p) => `<b>the paper’s ${plain(p.defense)}</b>${intra ? ", intra-class" : ""}<br>${plain(p.settings)}<br>${labels[measure]} ${short(p.distances[measure])}, not attacked<br>accuracy ${short(p.utility)}<br>${plain(data.paper_about)}`),
        });
      }
    }
    const fronts = measure === data.ranking ? Object.groupBy(points.filter((p) => p.pareto), (p) => `${times(p)}, ${p.training}`) : {};
    for (const [training, some] of Object.entries(fronts)) {
      const front = [...some].sort((a, b) => a.worst[measure].mean - b.worst[measure].mean);
      traces.push({
        type: "scatter", mode: "lines", name: Object.keys(fronts).length > 1 ? `Pareto front (${plain(training)})` : "Pareto front", hoverinfo: "skip",
        line: { color: colour("ink"), width: 1.6, shape: "vh", dash: "solid" }, x: front.map((p) => p.worst[measure].mean), y: front.map((p) => p.utility.mean),
      });
    }
    for (const [judgement, { name, tint, symbol }] of Object.entries(marks)) {
      const some = points.filter((point) => (!point.judged || !(measure in point.passes) ? "unjudged" : point.passes[measure] ? "passes" : "fails") === judgement);
      if (!some.length) continue;
      traces.push({
        type: "scatter", mode: "markers", name, marker: { symbol, size: 11, color: colour(tint), line: { width: symbol.endsWith("open") ? 1.8 : 0, color: colour(tint) } },
        x: some.map((p) => p.worst[measure].mean), y: some.map((p) => p.utility.mean),
        error_x: error(some.map((p) => p.worst[measure]), faint(tint, 0.6)), error_y: error(some.map((p) => p.utility), faint(tint, 0.6)),
        hovertext: some.map((p) => about(p, measure)), hoverinfo: "text",
      });
    }
    if (!points.length) return [plot, [], layout(plot, { xaxis: { visible: false }, yaxis: { visible: false }, annotations: [nothing] })];
    const seen = traces.flatMap((trace) => trace.y.filter((value) => value !== null));
    const lowest = Math.min(...seen, ...points.map((p) => p.utility.low ?? 1));
    const highest = Math.max(...seen, ...points.map((p) => p.utility.high ?? 0));
    const yRange = [Math.max(0, Math.floor(lowest * 10 - 0.5) / 10), Math.min(1.02, Math.ceil(highest * 10 + 0.5) / 10)];
    const xRange = [-0.03, Math.max(1, ...points.map((p) => p.worst[measure].high ?? 0)) + 0.03];
    const limit = limits[measure] && line("x", limits[measure], `threshold ${short(limits[measure]).replace(/0$/, "")}`, colour("pale"), "dash");
    const blank = board.blank[measure] && line("x", board.blank[measure], "mean image", colour("pale"), "dot");
    if (blank) Object.assign(blank.note, { y: 1, yanchor: "top" });
    const levels = [limit, blank].filter(Boolean);
    const annotate = ({ w, h }) => { // once the axes are laid out, so that names find room
      const scale = w / (xRange[1] - xRange[0]);
      for (const { note } of levels) if ((xRange[1] - note.x) * scale < 84) note.xanchor = "right";
      const held = levels.flatMap(({ note }) => [10, 30, 50, 70].map((dx) => [note.x + ((note.xanchor === "right" ? -dx : dx) / scale), note.y ? yRange[1] - 0.03 : yRange[0] + 0.03]));
      return [...levels.map(({ note }) => note), ...names(points, measure, [...others, ...held], w, h, xRange, yRange)];
    };
    plot.style.height = plot.clientWidth < 560 ? `${340 + 19 * traces.length}px` : "";
    return [plot, traces, layout(plot, {
      xaxis: axis(`worst-case ${labels[measure]} (0: the original itself)`, { range: xRange }),
      yaxis: axis("utility (accuracy on clean images)", { range: yRange, tickformat: ".1f" }),
      shapes: levels.map(({ shape }) => shape),
    }), annotate];
  };

  const hues = ["hidden", "fails", "good", "violet", "amber", "sky", "ink"];
  const symbols = ["circle", "square", "diamond", "triangle-up", "cross", "star", "triangle-down", "x"];

  const dashes = ["solid", "dash", "dashdot", "longdash"];

  const curves = (chart) => {
    const plot = chart.querySelector(".plot");
    const measure = chart.querySelector("input:checked").value;
    const useful = measure === "utility"; // of the model, whatever the attack
    const owner = (curve) => [curve.defense, curve.settings].filter(Boolean).join(" ");
    const { curves: all, thresholds: limits } = data.boards[chart.dataset.board];
    const shown = useful ? all.filter((curve, at) => all.findIndex((other) => owner(other) === owner(curve)) === at) : all;
    const drawn = shown.map((curve) => ({ ...curve, points: curve.points.filter((point) => point[measure]) })).filter((curve) => curve.points.length);
    const owners = [...new Set(all.map(owner))];
    const attacks = [...new Set(drawn.filter((curve) => !curve.control).map((curve) => curve.attack))];
    const style = (curve) => ({
      tint: colour(hues[owners.indexOf(owner(curve)) % hues.length]),
      symbol: symbols[owners.indexOf(owner(curve)) % symbols.length],
      dash: useful ? "solid" : curve.control ? "dot" : dashes[attacks.indexOf(curve.attack) % dashes.length],
    });
    const traces = drawn.map((curve) => {
      const { tint, symbol, dash } = style(curve);
      const scores = curve.points.map((point) => point[measure]);
      return {
        type: "scatter", mode: "lines+markers", showlegend: false, hoverinfo: "text",
        x: curve.points.map((p) => p.releases), y: scores.map((s) => s.mean), error_y: error(scores, tint),
        line: { color: tint, width: 2, dash }, marker: { symbol, size: 8, color: tint },
        hovertext: curve.points.map((p, at) => [
          `<b>${plain(curve.defense)}</b>${useful ? "" : `, ${plain(curve.attack)}`}${curve.control && !useful ? " (control)" : ""}`,
          plain(curve.settings), `${times(p)}: ${figure(scores[at])}, n = ${scores[at].n}`,
          ...(p.equals_release && !useful ? ["one release: the same as no attack"] : []),
          ...(p.status !== "ok" && !useful ? [`not on every seed: ${plain(p.status)}`] : []),
        ].filter(Boolean).join("<br>")),
      };
    });
    const key = (name, line, marker) => ({ type: "scatter", mode: marker ? "lines+markers" : "lines", name: name.map(plain).join("<br>"), x: [null], y: [null], line, ...(marker && { marker }) });
    const first = (list, of) => list.filter((curve, at) => list.findIndex((other) => of(other) === of(curve)) === at);
    const keys = first(drawn, owner).map((curve) => {
      const { tint, symbol } = style(curve);
      return key(folded(owner(curve), 34), { color: tint, width: 2 }, { symbol, size: 8, color: tint });
    });
    if (!useful) {
      keys.push(...first(drawn, (curve) => curve.attack).map((curve) =>
        key(folded(curve.attack + (curve.control ? " (control)" : ""), 34), { color: colour("pale"), width: 1.6, dash: style(curve).dash })));
    }
    const lines = keys.reduce((sum, { name }) => sum + name.split("<br>").length, 0);
    const beside = plot.clientWidth > 760;
    plot.style.height = `${beside ? Math.max(460, 60 + 19 * lines) : 380 + 19 * lines}px`;
    const ticks = [...new Set(all.flatMap((curve) => curve.points.map((p) => p.releases)))].sort((a, b) => a - b);
    const limit = limits[measure] && line("y", limits[measure], `threshold ${short(limits[measure]).replace(/0$/, "")}`, colour("pale"), "dash");
    const highest = Math.max(0.8, ...traces.flatMap((t) => t.y.map((y, at) => y + t.error_y.array[at])));
    return [plot, [...traces, ...keys], layout(plot, {
      showlegend: true,
      legend: { itemclick: false, itemdoubleclick: false, font: { size: 12 }, ...(beside ? { x: 1.02, y: 1 } : { orientation: "h", x: 0, xanchor: "left", y: 1.02, yanchor: "bottom" }) },
      xaxis: axis("releases, R (log scale)", { type: "log", tickvals: ticks, ticktext: ticks.map(String), range: [Math.log10(ticks[0] / 1.15), Math.log10(ticks.at(-1) * 1.15)] }),
      yaxis: axis(data.curve_titles[measure], { range: [-0.02, Math.min(1.3, highest * 1.05)] }),
      shapes: limit ? [limit.shape] : [],
      annotations: [...(limit ? [limit.note] : []), ...(traces.length ? [] : [nothing])],
    })];
  };

  const draw = async ([plot, traces, drawn, annotate]) => {
    await Plotly.react(plot, traces, drawn, { responsive: true, displayModeBar: false });
    if (annotate) await Plotly.relayout(plot, { annotations: annotate(plot._fullLayout._size) });
  };
  for (const chart of document.querySelectorAll(".chart")) {
    const make = chart.dataset.chart === "utility" ? utility : curves;
    charts.push(() => draw(make(chart)));
    chart.addEventListener("change", () => draw(make(chart)));
    if (make === utility) chart.closest(".board").querySelector(".releases")?.addEventListener("change", () => draw(make(chart)));
  }
  const all = () => charts.forEach((chart) => chart());
  document.addEventListener("themechange", all);
  let width = innerWidth;
  addEventListener("resize", () => { if (innerWidth !== width) { width = innerWidth; all(); } });
  all();
  document.documentElement.dataset.drawn = "yes";
})();
