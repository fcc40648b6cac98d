"use strict";
(() => {
  const data = JSON.parse(document.getElementById("report-data").textContent);
  const root = document.documentElement;
  const config = {
    responsive: true, displaylogo: false,
    displayModeBar: matchMedia("(pointer: coarse), (max-width: 600px)").matches ? false : "hover",
    modeBarButtonsToRemove: ["lasso2d", "select2d", "autoScale2d", "hoverClosest3d", "tableRotation"],
  };
  const ELEMENTS = {
    H: "#c8c8c8", C: "#7f8894", N: "#3f6df0", O: "#e5413b", S: "#d8a800", P: "#ff8c1a", F: "#4fb94f", CL: "#4fb94f",
    BR: "#a8552a", I: "#8a3ab0", FE: "#d0672a", MG: "#3a9c3a", ZN: "#7d80b0", CA: "#3fb37f", NA: "#9a5cf2",
  };
  const RADII = { H: 8, C: 14, N: 14, O: 14 };
  const touches = matchMedia("(pointer: coarse)").matches;
  const at = {};
  for (const [name, group] of Object.entries(data.groups)) at[name] = group.start;

  const css = (name) => getComputedStyle(root).getPropertyValue(name).trim();

  // var(--name) in a figure becomes the colour of the present theme; arrays of numbers are passed through
  function resolved(value) {
    if (typeof value === "string") {
      const found = /^var\((--[\w-]+)\)$/.exec(value);
      if (!found) return value;
      const words = css(found[1]);
      if (found[1] !== "--scale") return words;
      const colors = words.split(/\s+/);
      return colors.map((color, k) => [k / (colors.length - 1), color]);
    }
    if (Array.isArray(value)) return value.some((x) => x !== null && typeof x !== "number") ? value.map(resolved) : value;
    if (value && typeof value === "object") {
      return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, resolved(item)]));
    }
    return value;
  }

  function told(lines, where, drawn, pick) {
    const texts = where.slice();
    for (const line of lines) {
      const value = line.values === null ? drawn : pick(line.values);
      if (value === null || value === undefined) continue;
      texts.push(`${line.label} ${value.toFixed(line.digits)}${line.unit ? " " + line.unit : ""}`);
    }
    return texts.join("<br>");
  }

  // a trace with its texts for the pointer, which travel as lists of numbers
  function finished(trace) {
    const { hover, at: names, ...rest } = trace;
    const drawn = resolved(rest);
    if (!hover) return drawn;
    if (trace.type === "heatmap") {
      drawn.text = trace.z.map((row, j) => row.map((z, i) => z === null ? "" : told(
        hover, [`${names[0]} ${trace.x[i].toFixed(2)}, ${names[1]} ${trace.y[j].toFixed(2)}`], z, (v) => v[j][i])));
    } else {
      drawn.text = trace.x.map((x, i) => trace.y[i] === null ? "" : told(
        hover, [`${names[0]} ${x.toFixed(2)}`], trace.y[i], (v) => v[i]));
    }
    drawn.hovertemplate = "%{text}<extra></extra>";
    return drawn;
  }

  function atoms(molecule, step) {
    const xyz = molecule.positions[step];
    const color = (k) => ELEMENTS[molecule.elements[k].toUpperCase()] || "#d36bd3";
    const sticks = { x: [], y: [], z: [], color: [] };
    const add = (p, c) => {
      sticks.x.push(p ? p[0] : null); sticks.y.push(p ? p[1] : null); sticks.z.push(p ? p[2] : null); sticks.color.push(c);
    };
    for (const [a, b] of molecule.bonds) {
      const middle = xyz[a].map((value, k) => 0.5 * (value + xyz[b][k]));
      add(xyz[a], color(a)); add(middle, color(a)); add(middle, color(b)); add(xyz[b], color(b)); add(null, color(b));
    }
    const column = (k) => xyz.map((point) => point[k]);
    return [
      { type: "scatter3d", mode: "lines", x: sticks.x, y: sticks.y, z: sticks.z, line: { color: sticks.color, width: 12 }, hoverinfo: "skip" },
      {
        type: "scatter3d", mode: "markers", x: column(0), y: column(1), z: column(2), text: molecule.atoms,
        hovertemplate: "%{text}<extra></extra>",
        marker: {
          size: molecule.elements.map((name) => RADII[name] || 15), color: molecule.elements.map((_, k) => color(k)),
          opacity: 1, line: { width: 1, color: "rgba(0,0,0,0.35)" },
        },
      },
    ];
  }

  function layoutOf(slot, hasLegend) {
    const axis = { gridcolor: css("--rule"), linecolor: css("--rule"), zeroline: false, automargin: true, ticks: "outside", tickcolor: css("--rule") };
    const own = resolved(slot.layout);
    const ink = css("--ink");
    const layout = {
      ...own,
      autosize: true, paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: css("--plot"),
      font: { color: ink, size: 12, family: getComputedStyle(document.body).fontFamily },
      // the bar of tools stands at the top right, the legend below it
      margin: slot.molecule ? { l: 0, r: 0, t: 0, b: 0 } : { l: 52, r: 14, t: hasLegend ? 54 : 28, b: 44 },
      legend: { orientation: "h", x: 0, y: 1.01, yanchor: "bottom", bgcolor: "rgba(0,0,0,0)" },
      hoverlabel: { bgcolor: css("--card"), bordercolor: css("--muted"), font: { color: ink }, align: "left" },
      modebar: { bgcolor: "rgba(0,0,0,0)", color: css("--muted"), activecolor: ink },
      dragmode: slot.molecule ? "turntable" : touches ? false : "zoom",
    };
    const titled = (found) => ({ ...axis, ...found, title: { standoff: 8, ...found.title } });
    // whatever is drawn on it reaches over the whole height of the panel: drawing.WHOLE
    layout.yaxis2 = { overlaying: "y", range: [0, 1], visible: false, fixedrange: true };
    if (!slot.molecule) { layout.xaxis = titled(own.xaxis); layout.yaxis = titled(own.yaxis); }
    if (slot.molecule && !layout.scene.dragmode) layout.scene = { ...layout.scene, dragmode: "orbit" };
    return layout;
  }

  function draw(slot) {
    const step = slot.group ? at[slot.group] : 0;
    const traces = [...slot.fixed, ...(slot.frames[step] || [])].map(finished);
    if (slot.molecule) traces.push(...atoms(slot.molecule, step));
    const named = traces.filter((trace) => trace.name && trace.showlegend !== false && trace.type === "scatter");
    const layout = layoutOf(slot, named.length > 1);
    layout.showlegend = named.length > 1;
    if (!traces.length) layout.annotations = [{ text: "not known here", showarrow: false, xref: "paper", yref: "paper", x: 0.5, y: 0.5 }];
    return Plotly.react(slot.id, traces, layout, config);
  }

  const drawAll = () => Promise.all(data.slots.map(draw));

  for (const box of document.querySelectorAll(".slider")) {
    const group = box.dataset.group;
    const { labels } = data.groups[group];
    const input = box.querySelector("input");
    const output = box.querySelector("output");
    const play = box.querySelector("[data-play]");
    let timer = null;
    const show = (step) => {
      at[group] = step;
      input.value = step;
      input.setAttribute("aria-valuetext", labels[step]);
      output.textContent = labels[step];
      for (const slot of data.slots) if (slot.group === group) draw(slot);
    };
    const stop = () => {
      clearInterval(timer);
      timer = null;
      play.textContent = "play";
      play.setAttribute("aria-pressed", "false");
      output.setAttribute("aria-live", "polite");
    };
    input.addEventListener("input", () => { stop(); show(Number(input.value)); });
    for (const button of box.querySelectorAll("[data-step]")) {
      button.addEventListener("click", () => {
        stop();
        show(Math.min(labels.length - 1, Math.max(0, at[group] + Number(button.dataset.step))));
      });
    }
    for (const button of box.querySelectorAll("[data-jump]")) {
      button.addEventListener("click", () => { stop(); show(Number(button.dataset.jump)); });
    }
    play.addEventListener("click", () => {
      if (timer !== null) { stop(); return; }
      play.textContent = "stop";
      play.setAttribute("aria-pressed", "true");
      output.setAttribute("aria-live", "off"); // a screen reader would not keep up
      timer = setInterval(() => show((at[group] + 1) % labels.length), group === "stops" ? 300 : 900);
    });
    input.setAttribute("aria-valuetext", labels[at[group]]);
  }

  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawAll);
  addEventListener("beforeprint", () => { root.classList.add("print"); drawAll(); });
  addEventListener("afterprint", () => { root.classList.remove("print"); drawAll(); });
  drawAll().then(() => { root.dataset.drawn = "true"; });
})();
