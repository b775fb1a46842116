// Sends 50 requests at the same time to this store and to a store without compare-and-swap, and shows how many
// increments each has kept.
"use strict";

const REQUESTS = 50;
const button = document.getElementById("increment");
const output = document.getElementById("increments");

async function post(path) {
  const response = await fetch(path, { method: "POST" });
  if (!response.ok) throw new Error(`the server answered ${response.status}`);
}

// Returns how many increments were kept.
async function run(path, meter) {
  await Promise.all(Array.from({ length: REQUESTS }, () => post(path)));
  const counted = Number(await (await fetch(path)).text());
  const bar = document.getElementById(meter);
  bar.value = counted;
  bar.nextElementSibling.textContent = `${counted} of ${REQUESTS}`;
  return counted;
}

button.addEventListener("click", async () => {
  button.disabled = true;
  output.textContent = "…";
  try {
    await post("/increments/reset");
    const begin = performance.now();
    const counted = await run("/increments", "kept");
    const took = Math.round(performance.now() - begin);
    const naive = await run("/increments/naive", "naive-kept");
    document.getElementById("bars").hidden = false;
    const result = counted === REQUESTS ? "none was lost" : `${REQUESTS - counted} were lost`;
    output.textContent = `${REQUESTS} requests in ${took} ms, ${counted} counted: ${result}. A store without compare-and-swap lost ${REQUESTS - naive}. Reload the page to see the counter in the panel.`;
  } catch (error) {
    output.textContent = `The requests failed: ${error.message}.`;
  }
  button.disabled = false;
});
