// Fires 50 requests at once and counts whether each of them counted.
"use strict";

const REQUESTS = 50;
const button = document.getElementById("increment");
const output = document.getElementById("increments");

async function post(path) {
  const response = await fetch(path, { method: "POST" });
  if (!response.ok) throw new Error(`the server answered ${response.status}`);
}

button.addEventListener("click", async () => {
  button.disabled = true;
  output.textContent = "…";
  try {
    await post("/increments/reset");
    const begin = performance.now();
    await Promise.all(Array.from({ length: REQUESTS }, () => post("/increments")));
    const took = Math.round(performance.now() - begin);
    const counted = Number(await (await fetch("/increments")).text());
    const verdict = counted === REQUESTS ? "none was lost" : `${REQUESTS - counted} were lost`;
    output.textContent = `${REQUESTS} requests in ${took} ms, ${counted} counted: ${verdict}. Reload the page to see the counter in the panel.`;
  } catch (error) {
    output.textContent = `That failed: ${error.message}.`;
  }
  button.disabled = false;
});
