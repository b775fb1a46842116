// Signs out while a slow request of the same session runs, and shows what happened when.
"use strict";

const button = document.getElementById("race");
const timeline = document.getElementById("timeline");
const pause = (milliseconds) => new Promise((end) => setTimeout(end, milliseconds));

button.addEventListener("click", async () => {
  button.disabled = true;
  timeline.replaceChildren();
  const begin = performance.now();
  const note = (text) => {
    const item = document.createElement("li");
    item.textContent = `${Math.round(performance.now() - begin)} ms: ${text}`;
    timeline.append(item);
  };
  try {
    note("the slow request begins");
    const slow = fetch("/account/slow", { method: "POST" });
    await pause(300);
    note("you sign out");
    await fetch("/sign-out", { method: "POST", redirect: "manual" });
    note("you are signed out");
    const answer = await slow;
    note(
      answer.ok
        ? "the slow request wrote to the session"
        : `the slow request wanted to write and was refused (${answer.status}): the session has ended`,
    );
    const account = await fetch("/account", { redirect: "manual" });
    note(account.ok ? "you are signed in again" : "you are still signed out");
  } catch (error) {
    note(`it failed: ${error.message}`);
  }
});
