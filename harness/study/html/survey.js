"use strict";
// One question at a time; answers are kept in the browser where it allows that, and saved as a file at the end.
(() => {
  const { survey, questions, classes, width, minutes } = JSON.parse(document.getElementById("data").textContent);
  const place = `survey ${survey}`;
  const steps = [0.5, 1, 2, 3, 4, 6, 8];
  const at = (id) => document.getElementById(id);
  const form = at("questions");
  const boxes = (question) => [...at(question).querySelectorAll("input")];
  let state = fresh();
  let zoom = null;
  let keeps = true;
  let saved = true;
  let shownAt = innerWidth;

  // answers: question -> the classes that were ticked; none of them: "I cannot tell"; no entry: not answered
  function fresh() { return { person: "", step: "intro", answers: {}, seconds: 0 }; }

  function keep() {
    try { localStorage.setItem(place, JSON.stringify(state)); } catch { keeps = false; }
    at("unkept").hidden = keeps;
  }

  function recall() {
    let found;
    try { found = JSON.parse(localStorage.getItem(place)); } catch { return; }
    if (!found || typeof found !== "object" || typeof found.person !== "string") return;
    state.person = found.person.slice(0, 40);
    state.seconds = Number.isFinite(found.seconds) ? Math.max(0, found.seconds) : 0;
    if (questions.includes(found.step) || found.step === "end") state.step = found.step;
    for (const question of questions) {
      const named = found.answers && found.answers[question];
      if (Array.isArray(named)) state.answers[question] = classes.filter((name) => named.includes(name));
    }
  }

  const answered = () => questions.filter((question) => question in state.answers);

  function show(step, focus = true) {
    state.step = step;
    keep();
    at("intro").hidden = step !== "intro";
    at("end").hidden = step !== "end";
    form.hidden = !questions.includes(step);
    for (const question of questions) at(question).hidden = question !== step;
    const photos = at("photos");
    (step === "intro" ? at("begin") : null)?.before(photos);
    if (step === "intro") {
      at("person").value = state.person;
    } else if (step === "end") {
      end();
    } else {
      at("reference-photos").append(photos);
      at(step).querySelector(".picture").append(at("zoom"));
      for (const box of boxes(step)) {
        const named = state.answers[step];
        box.checked = named !== undefined && ("none" in box.dataset ? named.length === 0 : named.includes(box.value));
      }
      enlarge();
      progress();
      at("next").textContent = step === questions.at(-1) ? "Finish" : "Next";
    }
    if (!focus) return;
    scrollTo(0, 0);
    const target = step === "end" ? at("end-head") : step === "intro" ? at("intro-head") : boxes(step)[0];
    target.focus({ preventScroll: true });
    if (questions.includes(step)) at("status").textContent = `Question ${questions.indexOf(step) + 1} of ${questions.length}`;
  }

  function progress() {
    const number = questions.indexOf(state.step) + 1;
    const spent = Math.floor(state.seconds / 60);
    const words = at("progress-words");
    const left = document.createElement("span");
    const strong = document.createElement("b");
    strong.textContent = `Question ${number} of ${questions.length}`;
    left.append(strong, `, ${answered().length} answered`);
    const right = document.createElement("span");
    right.textContent = spent <= minutes ? `minute ${spent + 1} of about ${minutes}` : `${spent} minutes; take the time you need`;
    words.replaceChildren(left, right);
    at("bar").value = answered().length;
  }

  function end() {
    const open = questions.filter((question) => !(question in state.answers));
    at("summary").textContent = open.length
      ? `You answered ${questions.length - open.length} of ${questions.length} questions. These are open; "I cannot tell" is an answer too:`
      : `You answered all ${questions.length} questions. Thank you.`;
    at("open").replaceChildren(...open.map((question) => {
      const item = document.createElement("li");
      const button = document.createElement("button");
      button.type = "button";
      button.className = "button";
      button.textContent = String(questions.indexOf(question) + 1);
      button.setAttribute("aria-label", `Go to question ${questions.indexOf(question) + 1}`);
      button.addEventListener("click", () => show(question));
      item.append(button);
      return item;
    }));
  }

  function enlarge(change = 0) {
    const image = at(state.step).querySelector(".viewer img");
    const viewer = image.parentElement;
    if (zoom === null) {
      const room = Math.min(viewer.clientWidth || 400, 400);
      zoom = Math.max(0, steps.findLastIndex((step) => step * width <= room));
    }
    zoom = Math.min(steps.length - 1, Math.max(0, zoom + change));
    image.style.width = `${width * steps[zoom]}px`;
    image.style.height = "auto";
    image.style.imageRendering = steps[zoom] < 1 ? "auto" : "pixelated";
    viewer.scrollLeft = (viewer.scrollWidth - viewer.clientWidth) / 2;
    viewer.scrollTop = (viewer.scrollHeight - viewer.clientHeight) / 2;
    at("factor").textContent = `${steps[zoom] * 100} %`;
    at("smaller").disabled = zoom === 0;
    at("larger").disabled = zoom === steps.length - 1;
    if (change) at("status").textContent = `Zoom ${steps[zoom] * 100} %`;
  }

  function move(by) {
    const number = questions.indexOf(state.step) + by;
    show(number < 0 ? "intro" : number < questions.length ? questions[number] : "end");
  }

  form.addEventListener("change", (event) => {
    const box = event.target;
    if (box.type !== "checkbox") return;
    const all = boxes(state.step);
    if (box.checked) for (const other of all) if (other !== box && ("none" in box.dataset || "none" in other.dataset)) other.checked = false;
    const ticked = all.filter((each) => each.checked);
    if (ticked.length) state.answers[state.step] = ticked.filter((each) => !("none" in each.dataset)).map((each) => each.value);
    else delete state.answers[state.step];
    saved = false;
    keep();
    progress();
  });

  form.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "+" || event.key === "=") { enlarge(1); event.preventDefault(); return; }
    if (event.key === "-" || event.key === "−") { enlarge(-1); event.preventDefault(); return; }
    if (event.target.type !== "checkbox") return;
    const all = boxes(state.step);
    const by = { ArrowDown: 1, ArrowRight: 1, ArrowUp: -1, ArrowLeft: -1 }[event.key];
    if (by) { all[(all.indexOf(event.target) + by + all.length) % all.length].focus(); event.preventDefault(); }
    if (event.key === "Enter") { move(1); event.preventDefault(); }
  });

  form.addEventListener("submit", (event) => { event.preventDefault(); move(1); });
  at("back").addEventListener("click", () => move(-1));
  at("smaller").addEventListener("click", () => enlarge(-1));
  at("larger").addEventListener("click", () => enlarge(1));
  at("again").addEventListener("click", () => show(questions.find((question) => !(question in state.answers)) ?? questions[0]));

  at("begin").addEventListener("submit", (event) => {
    event.preventDefault();
    state.person = at("person").value;
    show(questions.find((question) => !(question in state.answers)) ?? "end");
  });

  at("save").addEventListener("click", () => {
    const document_ = { form: 1, survey, person: state.person, answers: state.answers };
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([`${JSON.stringify(document_, null, 1)}\n`], { type: "application/json" }));
    link.download = `answers-${state.person}.json`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
    saved = true;
    at("saved").textContent = `Saved as ${link.download}, where your browser puts downloads. Send this file to whoever gave you the survey.`;
    at("saved").hidden = false;
  });

  at("clear").addEventListener("click", () => {
    if (!confirm("Remove the answers that are on this page? Files that were saved stay.")) return;
    state = fresh();
    saved = true;
    at("saved").hidden = true;
    show("intro");
  });

  addEventListener("beforeunload", (event) => { if (!keeps && !saved) event.preventDefault(); });
  addEventListener("resize", () => {  // a phone's address bar changes the height alone
    if (innerWidth === shownAt) return;
    shownAt = innerWidth;
    zoom = null;
    if (questions.includes(state.step)) enlarge();
  });
  setInterval(() => {
    if (document.hidden || !questions.includes(state.step)) return;
    state.seconds += 1;
    if (state.seconds % 5 === 0) { keep(); progress(); }
  }, 1000);

  recall();
  show(state.step, state.step !== "intro");
})();
