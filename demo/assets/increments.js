// Sends 50 requests at the same time and checks that none of their increments is lost.
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
    const result = counted === REQUESTS ? "none was lost" : `${REQUESTS - counted} were lost`;
    output.textContent = `${REQUESTS} requests in ${took} ms, ${counted} counted: ${result}. Reload the page to see the counter in the panel.`;
  } catch (error) {
    output.textContent = `The requests failed: ${error.message}.`;
  }
  button.disabled = false;
});
