// Keeps the page fresh while somebody looks at it. Everything works without it.
'use strict';
(() => {
  const EVERY_MILLIS = 5000;
  const pulse = document.getElementById('pulse');
  const icon = document.getElementById('icon');
  let timer = 0;
  let asking = false;

  const say = (text, state) => {
    pulse.textContent = text;
    pulse.className = 'pulse ' + state;
  };

  // Nothing moves under a hand that is about to press something, or a mouse that marks some text.
  const busy = () => {
    const live = document.getElementById('live');
    const chosen = getSelection();
    return live.querySelector('details[open]') !== null
      || (chosen.toString() !== '' && live.contains(chosen.anchorNode));
  };

  // The focus goes back to the element in the same place.
  const placeOf = (live) => [...live.querySelectorAll('a, button, summary')].indexOf(document.activeElement);

  const show = (text) => {
    const next = new DOMParser().parseFromString(text, 'text/html').getElementById('live');
    if (next === null) return;
    const live = document.getElementById('live');
    const place = placeOf(live);
    live.replaceWith(next);
    if (place >= 0) next.querySelectorAll('a, button, summary')[place]?.focus({ preventScroll: true });
    dress();
  };

  const dress = () => {
    const live = document.getElementById('live');
    document.title = live.dataset.title + ' · deskbridge';
    const colour = { good: '%2323a26d', warn: '%23d9961a', bad: '%23d33a30' }[live.dataset.tone];
    icon.href = icon.href.replace(/%23[0-9a-f]{6}/, colour);
  };

  const ask = async () => {
    if (asking || document.hidden) return;
    asking = true;
    try {
      const answer = await fetch('/live' + location.search, { signal: AbortSignal.timeout(EVERY_MILLIS * 2) });
      if (answer.status === 401) return location.reload();
      if (!answer.ok) throw new Error(answer.status);
      const text = await answer.text();
      if (busy()) {
        say('paused', '');
      } else {
        show(text);
        say('live', 'on');
      }
    } catch {
      say('no answer', 'lost');
    } finally {
      asking = false;
    }
  };

  const run = () => {
    clearInterval(timer);
    if (document.hidden) {
      say('paused', '');
    } else {
      ask();
      timer = setInterval(ask, EVERY_MILLIS);
    }
  };

  document.addEventListener('visibilitychange', run);
  dress();
  say('live', 'on');
  timer = setInterval(ask, EVERY_MILLIS);
})();
