// Shows at once that this session has ended, for example on another device.
"use strict";

const ENDED = 4001;
const url = new URL("/account/watch", location.href);
url.protocol = location.protocol === "https:" ? "wss:" : "ws:";

function watch() {
  const socket = new WebSocket(url);
  socket.addEventListener("close", (event) => {
    if (event.code === ENDED) {
      const ended = document.getElementById("ended");
      ended.hidden = false;
      for (const form of document.querySelectorAll("main form")) form.remove();
      ended.scrollIntoView();
    } else {
      // The server was restarted, or the network failed. If the session has ended, the answer is an
      // error, and the next page asks for the sign-in.
      setTimeout(watch, 5000);
    }
  });
}

watch();
