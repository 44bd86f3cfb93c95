// Put the page together: its data, the theme, the run that is shown, and the charts one by one.

const page = JSON.parse(document.getElementById("page-data").textContent);
let drawing = Promise.resolve();
let drawnWidth = 0;

function shownRun() {
  const choice = document.getElementById("shown-run");
  return Number(choice ? choice.value : 0);
}

function drawAll() {
  drawnWidth = document.documentElement.clientWidth;
  drawing = drawing.then(async () => {
    delete document.body.dataset.drawn;
    for (const figure of document.querySelectorAll("figure[data-chart]")) {
      await drawFigure(figure, page, page.runs[shownRun()]);
      await new Promise((resolve) => setTimeout(resolve)); // between charts the page answers
    }
    document.body.dataset.drawn = "yes";
  });
}

function showRun() {
  for (const part of document.querySelectorAll("[data-run]")) part.hidden = Number(part.dataset.run) !== shownRun();
  drawAll();
  if (page.runs.length) showResponses(page.runs[shownRun()]);
}

function chooseTheme(theme) {
  document.documentElement.style.colorScheme = theme;
  const button = document.getElementById("theme");
  button.textContent = isDark() ? "Light page" : "Dark page";
}

document.getElementById("theme").addEventListener("click", () => {
  chooseTheme(isDark() ? "light" : "dark");
  drawAll();
});
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
  chooseTheme(document.documentElement.style.colorScheme);
  drawAll();
});
document.getElementById("shown-run")?.addEventListener("change", showRun);
let resizing = 0;
addEventListener("resize", () => {
  clearTimeout(resizing);
  resizing = setTimeout(() => {
    if (Math.abs(document.documentElement.clientWidth - drawnWidth) > 40) drawAll();
  }, 250);
});
chooseTheme("");
showRun();
