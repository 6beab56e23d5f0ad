// Run in the page of `gta serve` when it has loaded: what Gradio does not do, and what only the browser knows.
() => {
  const all = (selector) => document.querySelectorAll(selector);
  const calm = window.matchMedia("(prefers-reduced-motion: reduce)");

  // ---- Gradio's tool to trim videos is 32 MB: no visitor needs it, and its button is hidden ----

  const get = window.fetch.bind(window);
  window.fetch = (wanted, ...more) =>
    String(wanted?.url ?? wanted).includes("/static/ffmpeg/") ? new Promise(() => {}) : get(wanted, ...more);

  // ---- the film: both directions begin, stop and go on together ----

  const play = (player, playing) => {
    player.dataset.playing = playing ? "yes" : "no";
    player.querySelector("button.play").textContent = playing ? "Pause" : "Play";
  };
  document.addEventListener("click", (event) => {
    const player = event.target.closest?.("button.play")?.closest(".player");
    if (player) play(player, player.dataset.playing !== "yes");
  });

  // ---- notices in an answer's place: files that are not sent, cameras that are not there ----

  const tell = (words) => {
    for (const place of all(".notice")) place.textContent = words;
  };
  const limit = () => document.querySelector(".notice").dataset;
  // Gradio refuses what the browser does not call a video (.ts, .y4m, no suffix): the server is to judge that.
  const retyped = (file) => new File([file], file.name, { type: "video/mp4", lastModified: file.lastModified });
  const choose = (event) => {
    const files = event.type === "drop" ? event.dataTransfer?.files : event.target.files;
    const input = document.querySelector("#video input[type=file]");
    if (!files?.length || !event.target.closest?.("#video") || !input) return;
    const file = files[0];
    const words = file.size > Number(limit().mostBytes) ? limit().tooLarge : file.size ? "" : limit().empty;
    tell(words);
    if (!words && file.type.startsWith("video/")) return;
    event.preventDefault();
    event.stopImmediatePropagation(); // Gradio would show an error that stays
    if (event.type === "drop") event.target.dispatchEvent(new DragEvent("dragleave", { bubbles: true }));
    if (words) {
      input.value = ""; // so that the same file can be chosen again
    } else {
      const one = new DataTransfer();
      one.items.add(retyped(file));
      input.files = one.files;
      input.dispatchEvent(new Event("change", { bubbles: true }));
    }
  };
  document.addEventListener("change", choose, true);
  document.addEventListener("drop", choose, true);

  const trouble = {
    NotAllowedError: "Camera access was denied. Allow it for this page in the browser's settings, then try again.",
    NotFoundError: "No camera was found. Connect one, or upload a video.",
  };
  const media = navigator.mediaDevices;
  if (media?.getUserMedia) {
    const ask = media.getUserMedia.bind(media);
    media.getUserMedia = async (wanted) => {
      try {
        const stream = await ask(wanted);
        tell("");
        return stream;
      } catch (error) {
        tell(trouble[error.name] ?? "The camera cannot be used. Another program may be using it: close that program, then try again.");
        return new Promise(() => {}); // Gradio handles no refusal: without an answer its button stays, to be tried again
      }
    };
  } else {
    document.addEventListener("click", (event) => {
      if (!event.target.closest?.('#camera button, [aria-label="Capture from camera"]')) return;
      tell("Browsers allow camera access only for pages from this machine or over HTTPS: put a proxy with TLS in front of the server.");
    });
  }

  // ---- the camera: its button says what it does, and its last answer that it is the last ----

  const mendCamera = () => {
    const button = document.querySelector("#camera .capture-button, #camera button[aria-label='capture photo']");
    const live = document.querySelector("#live");
    const running = button?.textContent.trim() === "Stop";
    if (button?.textContent.trim()) button.setAttribute("aria-label", button.textContent.trim());
    if (live) live.dataset.camera = running ? "on" : "off";
  };

  // ---- an explanation, or why there is none, comes into sight when it is there ----

  let shown = null;
  const show = () => {
    const seen = document.querySelector("#seen iframe, #seen .bad");
    if (seen && seen !== shown) seen.closest(".gta").scrollIntoView({ block: "start", behavior: calm.matches ? "auto" : "smooth" });
    shown = seen;
  };

  // ---- whatever appears ----

  const mend = () => {
    // The head of a notice is a button that holds another button, which screen readers cannot make sense of.
    for (const head of all(".toast-header[role]")) {
      head.removeAttribute("role");
      head.removeAttribute("tabindex");
    }
    // The answer says it where there is one; where there is none, it says why, and nothing else need be said.
    for (const place of all('[data-testid="toast-text"]')) {
      if (place.textContent.trim() === "Video not playable") place.closest('[data-testid="toast-body"]').style.display = "none";
    }
    const broken = Boolean(document.querySelector("#video video")?.error);
    for (const note of all(".unplayable")) note.hidden = !broken;
    for (const player of all(".player:not([data-playing])")) play(player, !calm.matches);
    mendCamera();
    show();
  };
  new MutationObserver(mend).observe(document.body, { childList: true, subtree: true });
  document.addEventListener("error", mend, true); // of media, which does not bubble

  // ---- an explanation is as high as what is in it ----

  window.addEventListener("message", (event) => {
    const height = Number(event.data?.explainHeight);
    for (const frame of all("#seen iframe")) {
      if (event.source === frame.contentWindow && height > 0) frame.style.height = `${Math.ceil(height) + 2}px`;
    }
  });

  document.documentElement.dataset.ready = "yes";
}
