"use strict";
(() => {
  const $ = (id) => document.getElementById(id);
  const SIGNS = { WAITING: "○", LIVE: "●", LAGGING: "▲", STALLED: "■", DONE: "✓", STOPPED: "■", FAILED: "✕", "NO CONNECTION": "✕" };
  const ENDS = new Set(["DONE", "STOPPED", "FAILED"]);
  const FLASH_MS = 1500, CHARTS_MS = 200, KEPT_EVENTS = 48, SILENT_MS = 3000;
  const token = new URLSearchParams(location.hash.slice(1)).get("token") ?? new URLSearchParams(location.search).get("token") ?? "";

  let news = null, socket = null, heard = 0, paused = false, outlines = true, movie = null;
  let bitmap = null, picture = null, flashes = [], charts = {}, drawnAt = 0, shown = 0, wait = 500, marking = null;
  let series = blank(), sensors = [];

  function blank() {
    return { epoch: -1, x: [], number: [], diameter_px: [], coverage: [], events: [] };
  }

  /* ---- the stream: a picture is acknowledged once it is drawn, so a slow browser gets fewer, never later ones ---- */

  function connect() {
    const query = token ? `?token=${encodeURIComponent(token)}` : "";
    socket = new WebSocket(`${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/stream${query}`);
    socket.binaryType = "arraybuffer";
    socket.onmessage = async ({ target, data }) => {
      heard = performance.now();
      wait = 500;
      try {
        await take(data);
      } finally {
        if (target.readyState === WebSocket.OPEN) {
          target.send(JSON.stringify({ picture: !paused && !document.hidden, outlines, shown }));
        }
      }
    };
    socket.onclose = () => {
      shown = 0;
      silent();
      setTimeout(connect, wait);
      wait = Math.min(2 * wait, 5000);
    };
  }

  async function take(data) {
    const length = new DataView(data).getUint32(0);
    news = JSON.parse(new TextDecoder().decode(new Uint8Array(data, 4, length)));
    const known = news.movie === movie; // what happened before the page was opened is listed, and does not flash
    if (!known) begin();
    merge(news.series);
    if (news.sensors) sensed();
    for (const event of news.events) happened(event, known);
    header();
    if (news.picture && !paused) {
      const fresh = await createImageBitmap(new Blob([new Uint8Array(data, 4 + length)], { type: "image/jpeg" }));
      if (bitmap) bitmap.close();
      bitmap = fresh;
      picture = news.picture;
      shown = picture.number;
      draw();
    } else if (flashes.length && !paused) draw();
    const now = performance.now();
    if (!paused && now - drawnAt > CHARTS_MS) {
      drawnAt = now;
      curves();
    }
  }

  function begin() {
    movie = news.movie;
    series = blank();
    sensors = [];
    flashes = [];
    $("events").replaceChildren();
    $("none").hidden = false;
    if (bitmap) bitmap.close();
    bitmap = picture = null;
    const canvas = $("picture");
    canvas.getContext("2d").clearRect(0, 0, canvas.width, canvas.height);
    $("caption").textContent = "no frame yet";
    $("bar").hidden = true;
    $("title").textContent = news.title;
    $("out").textContent = news.out ? `→ ${news.out}` : "";
  }

  function merge(part) {
    if (part.epoch !== series.epoch) series = { ...blank(), epoch: part.epoch };
    for (const name of ["x", "number", "diameter_px", "coverage", "events"]) {
      series[name].length = Math.min(series[name].length, part.from);
      series[name].push(...part[name]);
    }
  }

  /* ---- what sensors say: curves of the first temperature and the first pressure, the newest value of each ---- */

  const CURVED = { temperature: ["°C", "K"], pressure: ["mbar", "bar", "Torr", "Pa", "hPa", "kPa"] };

  function sensed() {
    sensors = news.sensors;
    for (const [name, units] of Object.entries(CURVED)) {
      const first = sensors.find((s) => units.includes(s.unit));
      $(name).hidden = !first;
      CURVES[name].sensor = first;
      if (first) $(name).querySelector("span").textContent = first.name;
    }
    document.querySelector(".curves").classList.toggle("many", Object.keys(CURVED).some((name) => CURVES[name].sensor));
    $("sensors").hidden = !sensors.length && !news.sensors_say;
    $("sensors").textContent = [...sensors.map((s) => `${s.name} ${short(s.now)} ${s.unit}`), ...(news.sensors_say ? [news.sensors_say] : [])].join(" · ");
  }

  /* ---- words and numbers ---- */

  function header() {
    const { state, says, counts: c, age_s: age } = news;
    word(state, says, state === "STALLED" ? span(age) : "");
    const total = c.total == null ? "" : ` / ${whole(c.total)}`;
    $("in").textContent = c.incoming == null ? "–" : c.total == null ? whole(c.incoming) : whole(c.total);
    $("used").textContent = c.used == null ? "–" : whole(c.used) + (c.total == null ? "" : total);
    for (const name of ["bad", "missing"]) {
      $(name).textContent = whole(c[name]);
      $(`${name}-box`).classList.toggle("odd", c[name] > 0);
    }
    $("rate").textContent = c.frames_per_s == null ? "–" : short(c.frames_per_s);
    $("lag-box").hidden = c.lag_frames == null;
    $("lag").textContent = c.lag_frames == null ? "–" : `${whole(c.lag_frames)} · ${short(c.lag_s ?? 0)} s`;
    $("disk").textContent = news.disk == null ? "–" : bytes(news.disk);
    document.title = `${state} · ${news.title || "insitu"}`;
  }

  function word(state, says, since) {
    if ($("word").textContent !== state) $("word").textContent = state; // a status is read out when it changes
    $("sign").textContent = SIGNS[state] ?? "○";
    $("how").dataset.state = state;
    $("since").textContent = since;
    $("says").textContent = says;
  }

  function silent() {
    const age = heard ? ` for ${span((performance.now() - heard) / 1000)}` : "";
    if (news && ENDS.has(news.state)) $("says").textContent = `${news.says}; the program has ended, this is the last it showed`;
    else word("NO CONNECTION", `nothing was heard from the analysis${age}: what is shown is old`, "");
  }

  const whole = (n) => (n == null ? "–" : n.toLocaleString("en").replaceAll(",", "\u202f"));
  const short = (n) => (n === 0 ? "0" : n >= 1000 ? whole(Math.round(n)) : String(Number(n.toPrecision(3))));
  const span = (s) => (s == null ? "" : s < 120 ? `${Math.floor(s)} s` : `${Math.floor(s / 60)} min`);
  const bytes = (n) => (n >= 1e12 ? `${short(n / 1e12)} TB` : n >= 1e9 ? `${short(n / 1e9)} GB` : `${short(n / 1e6)} MB`);
  const unit = () => (news?.nm_per_px ? "nm" : "px");
  const scale = () => news?.nm_per_px ?? 1;

  /* ---- the picture ---- */

  function draw() {
    if (!bitmap) return;
    const canvas = $("picture"), now = performance.now();
    if (canvas.width !== bitmap.width || canvas.height !== bitmap.height) {
      canvas.width = bitmap.width;
      canvas.height = bitmap.height;
    }
    const context = canvas.getContext("2d");
    context.drawImage(bitmap, 0, 0);
    flashes = flashes.filter((f) => f.until > now);
    for (const { event, until } of flashes) ring(context, event, 1 - (until - now) / FLASH_MS);
    const time = picture.time_s == null ? "" : ` · ${picture.time_s.toFixed(3)} s`;
    const text = `frame ${picture.frame}${time} · ${picture.particles} particle${picture.particles === 1 ? "" : "s"}`;
    $("caption").textContent = text;
    canvas.setAttribute("aria-label", text);
    $("bar").hidden = !picture.bar;
    if (picture.bar) {
      const shown = Math.min(canvas.clientWidth, (canvas.clientHeight * canvas.width) / canvas.height);
      $("bar").firstChild.style.width = `${(picture.bar[0] * shown).toFixed(1)}px`;
      $("bar").lastChild.textContent = picture.bar[1];
    }
  }

  function ring(context, event, age) {
    const x = (event.x - picture.x0 + 0.5) * picture.scale, y = (event.y - picture.y0 + 0.5) * picture.scale;
    const radius = context.canvas.width * (0.03 + 0.02 * age);
    for (const [colour, width] of [["#000", 5], ["#fff", 2]]) {
      context.beginPath();
      context.arc(x, y, radius, 0, 2 * Math.PI);
      context.lineWidth = width;
      context.strokeStyle = colour;
      context.stroke();
    }
  }

  /* ---- events ---- */

  function happened(event, fresh) {
    if (fresh && event.y != null) flashes.push({ event, until: performance.now() + FLASH_MS });
    if (flashes.length > 20) flashes.shift();
    const item = document.createElement("li");
    let top;
    if (event.picture) {
      top = new Image();
      top.src = `data:image/jpeg;base64,${event.picture.jpeg}`;
      top.alt = `${event.kind}, seen at frame ${event.picture.frame}`;
    } else {
      top = document.createElement("p");
      top.className = "blank";
      top.textContent = event.note;
    }
    const kind = document.createElement("b");
    kind.textContent = event.kind;
    const when = document.createElement("span");
    when.textContent = event.time_s == null ? `frame ${event.frame}` : `${event.frame} · ${event.time_s.toFixed(2)} s`;
    if (event.kind !== "mark") item.title = `confidence ${event.confidence.toFixed(2)}${event.note ? ` · ${event.note}` : ""}`;
    item.append(top, kind, when);
    $("events").prepend(item);
    while ($("events").childElementCount > KEPT_EVENTS) $("events").lastChild.remove();
    $("none").hidden = true;
  }

  /* ---- curves ---- */

  const CURVES = {
    diameter: { colour: "--blue", data: () => series.diameter_px.map((d) => (d == null ? null : d * scale())), text: (v) => `${short(v)} ${unit()}` },
    number: { colour: "--green", data: () => series.number, text: (v) => short(v) },
    coverage: { colour: "--purple", data: () => series.coverage.map((c) => (c == null ? null : 100 * c)), text: (v) => `${short(v)} %` },
    temperature: { colour: "--vermilion", sensor: null, text: (v) => `${short(v)} ${CURVES.temperature.sensor.unit}` },
    pressure: { colour: "--purple", sensor: null, text: (v) => `${short(v)} ${CURVES.pressure.sensor.unit}` },
    events: { colour: "--vermilion", bars: true, axis: true, text: (v) => short(v) },
    sizes: { colour: "--blue", bars: true, axis: true, alone: true, text: (v) => short(v) },
  };

  function chart(name) {
    const { colour, bars, axis, alone } = CURVES[name], style = getComputedStyle(document.documentElement);
    const line = style.getPropertyValue(colour).trim(), muted = style.getPropertyValue("--muted").trim();
    const rule = style.getPropertyValue("--rule").trim(), place = $(`chart-${name}`), font = "11px system-ui, sans-serif";
    const axes = { stroke: muted, font, grid: { stroke: rule, width: 1 }, ticks: { show: false }, values: (_chart, at) => at.map((v) => String(Number(v.toPrecision(5)))) };
    place.replaceChildren();
    return new uPlot({
      width: place.clientWidth, height: place.clientHeight, legend: { show: false }, padding: [8, 8, axis ? 0 : 4, 0],
      scales: { x: { time: false }, y: { range: bars ? fromZero : wide } },
      cursor: { points: { size: 5 }, y: false, drag: { x: false, y: false }, ...(alone ? {} : { sync: { key: "time" } }) },
      axes: [{ ...axes, show: !!axis, size: 22, gap: 2 }, { ...axes, size: 46, gap: 2, space: 22 }],
      series: [{}, { stroke: line, width: bars ? 0 : 1.6, fill: bars ? line : undefined, spanGaps: false, points: { show: false }, paths: bars ? uPlot.paths.bars({ size: [0.9, 60], align: 1 }) : undefined }],
      hooks: { setCursor: [() => values(name)] },
    }, [[], []], place);
  }

  const fromZero = (_chart, _low, high) => [0, 1.1 * (high || 1)];

  function wide(_chart, low, high) { // a range of at least 2 %: noise in the fourth digit is no trend
    if (low == null) return [0, 1];
    if (low === 0 && high === 0) return [0, 1];
    const spare = Math.max(0.1 * (high - low), 0.01 * Math.abs(high));
    return [low - spare, high + spare];
  }

  function eventBars() {
    const { x, events } = series, many = Math.min(60, Math.floor(x.length / 8)); // a bar tells of eight frames or more
    if (many < 2) return [[], []];
    const first = x[0], width = (x[x.length - 1] - first) / many || 1, counts = new Array(many).fill(0);
    x.forEach((at, k) => { counts[Math.min(many - 1, Math.floor((at - first) / width))] += events[k]; });
    const per = news.timed ? width : width / 100;
    return [counts.map((_, k) => first + k * width), counts.map((n) => n / per)];
  }

  function sizeBars() {
    const { top, counts } = news.sizes;
    if (!counts.length) return [[0, 1], [0, 0]];
    return [counts.map((_, k) => (k / counts.length) * top * scale()), counts];
  }

  function curves() {
    for (const name of Object.keys(CURVES)) {
      const place = $(`chart-${name}`);
      if (name in CURVED && !CURVES[name].sensor) continue;
      charts[name] ??= chart(name);
      if (charts[name].width !== place.clientWidth || charts[name].height !== place.clientHeight) {
        charts[name].setSize({ width: place.clientWidth, height: place.clientHeight });
      }
      charts[name].setData(lines(name));
      values(name);
    }
    $("events-title").textContent = news.timed ? "events per s, against time in s" : "events per 100 frames, against frame";
    $("sizes-title").textContent = `diameters in ${unit()}${news.sizes.frame == null ? "" : `, frame ${news.sizes.frame}`}`;
  }

  function lines(name) {
    if (name === "sizes") return sizeBars();
    if (name === "events") return eventBars();
    if (name in CURVED) return [CURVES[name].sensor.x, CURVES[name].sensor.y];
    return [series.x, CURVES[name].data()];
  }

  function values(name) {
    const shown = charts[name];
    if (!shown) return;
    const [x, y] = shown.data, at = shown.cursor.idx;
    let k = at ?? y.length - 1;
    if (name === "sizes" && at == null) {
      $("value-sizes").textContent = y.length ? `${whole(y.reduce((a, b) => a + b, 0))} wholly inside` : "–";
      return;
    }
    while (at == null && k > 0 && y[k] == null) k -= 1;
    const where = at == null || x[k] == null ? "" : ` at ${short(x[k])}${name === "sizes" ? ` ${unit()}` : news.timed ? " s" : ""}`;
    $(`value-${name}`).textContent = y[k] == null ? "–" : CURVES[name].text(y[k]) + where;
  }

  /* ---- what the operator does ---- */

  function pause() {
    paused = !paused;
    $("pause").setAttribute("aria-pressed", String(paused));
    $("frozen").hidden = !paused;
    if (!paused && news) curves();
  }

  function mark() {
    if ($("mark").disabled || $("dialog").open) return;
    marking = picture ? picture.frame : null;
    $("dialog-title").textContent = marking == null ? "Mark" : `Mark frame ${marking}`;
    $("note").value = "";
    $("dialog").showModal();
    $("note").focus();
  }

  async function leave() {
    try {
      const answer = await fetch("/mark", {
        method: "POST", headers: { "Content-Type": "application/json", "X-Insitu-Token": token },
        body: JSON.stringify({ note: $("note").value, frame: marking }),
      });
      const text = await answer.text();
      tell(answer.ok ? `marked frame ${JSON.parse(text).frame}` : `not marked: ${text}`);
    } catch {
      tell("not marked: no connection to the analysis");
    }
  }

  function snapshot() {
    if (!bitmap) return tell("there is no frame yet");
    const from = $("picture"), strip = 34, canvas = document.createElement("canvas");
    canvas.width = from.width;
    canvas.height = from.height + strip;
    const context = canvas.getContext("2d"), middle = from.height + strip / 2;
    context.fillRect(0, 0, canvas.width, canvas.height);
    context.drawImage(from, 0, 0);
    context.fillStyle = "#fff";
    context.font = "15px system-ui, sans-serif";
    context.textBaseline = "middle";
    let left = 10;
    if (picture.bar) {
      context.fillRect(left, middle - 2, picture.bar[0] * from.width, 4);
      left += picture.bar[0] * from.width + 8;
      context.fillText(picture.bar[1], left, middle);
      left += context.measureText(picture.bar[1]).width + 20;
    }
    context.fillText($("caption").textContent, left, middle);
    canvas.toBlob((blob) => {
      const link = document.createElement("a");
      link.download = `${(news.title || "insitu").replace(/[^\p{L}\p{N}._-]+/gu, "_")}_frame${picture.frame}.png`;
      link.href = URL.createObjectURL(blob);
      link.click();
      setTimeout(() => URL.revokeObjectURL(link.href), 1000);
      tell(`saved ${link.download}`);
    }, "image/png");
  }

  function tell(text) {
    $("told").textContent = text;
    clearTimeout(tell.timer);
    tell.timer = setTimeout(() => { $("told").textContent = ""; }, 6000);
  }

  function theme(next) {
    document.documentElement.dataset.theme = next;
    for (const name of Object.keys(charts)) charts[name].destroy();
    charts = {};
    if (news) curves();
  }

  const actions = {
    pause, mark, snapshot,
    outlines: () => {
      outlines = !outlines;
      $("outlines").setAttribute("aria-pressed", String(outlines));
    },
    theme: () => theme(document.documentElement.dataset.theme === "dark" ? "light" : "dark"),
  };
  const keys = { " ": "pause", o: "outlines", m: "mark", s: "snapshot", t: "theme" };
  for (const [name, action] of Object.entries(actions)) $(name).addEventListener("click", action);
  $("cancel").addEventListener("click", () => $("dialog").close());
  $("form").addEventListener("submit", leave);
  addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.repeat || $("dialog").open) return;
    if (event.key === " " && event.target instanceof HTMLButtonElement) return; // it presses that button
    const name = keys[event.key.toLowerCase()];
    if (!name) return;
    event.preventDefault();
    actions[name]();
  });
  addEventListener("resize", () => { if (news) { curves(); draw(); } });
  if (!token) {
    $("mark").disabled = true;
    $("mark").title = "to leave marks, open the address that insitu printed";
  }
  const dark = matchMedia("(prefers-color-scheme: dark)");
  dark.addEventListener("change", () => theme(dark.matches ? "dark" : "light"));
  theme(dark.matches ? "dark" : "light");
  setInterval(() => { if (heard && performance.now() - heard > SILENT_MS) silent(); }, 500);
  connect();
})();
