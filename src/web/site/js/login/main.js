// The login: name and password, errors in words, the seconds to wait after too many of them.
import { nextPath } from './next.js';

const form = document.querySelector('#login');
const name = document.querySelector('#name');
const password = document.querySelector('#password');
const trouble = document.querySelector('#trouble');
const capsLock = document.querySelector('#caps-lock');
const show = document.querySelector('#show');
const button = form.querySelector('button[type=submit]');
const next = nextPath(new URLSearchParams(location.search).get('next'));
let wait;

function say(text) {
  trouble.textContent = text;
  trouble.hidden = !text;
}

// Counts the seconds down until another try is allowed.
function holdBack(seconds, text) {
  clearInterval(wait);
  const until = Date.now() + seconds * 1000;
  const turn = () => {
    const left = Math.ceil((until - Date.now()) / 1000);
    button.disabled = left > 0;
    if (left > 0) return say(`${text} You can try again in ${left} s.`);
    clearInterval(wait);
    return say('');
  };
  wait = setInterval(turn, 500);
  turn();
}

async function logIn(event) {
  event.preventDefault();
  say('');
  button.disabled = true;
  let held = false;
  try {
    const response = await fetch('/api/v1/login', {
      method: 'POST',
      headers: { 'Content-Type': 'application/json' },
      body: JSON.stringify({ name: name.value.trim(), password: password.value }),
    });
    if (response.ok) {
      location.replace(next);
      return;
    }
    const answer = await response.json().catch(() => null);
    const text = answer?.error?.text;
    const seconds = Number(response.headers.get('Retry-After')) || 0;
    if (response.status === 429) {
      held = seconds > 0;
      if (held) holdBack(seconds, 'Too many logins failed.');
      else say(text ?? 'Too many logins failed. Wait a minute and try again.');
    } else if (response.status === 401) {
      say('Name or password is wrong.');
      password.select();
    } else {
      say(text ?? `The server answered with ${response.status}. Try again in a moment.`);
    }
  } catch {
    say('The server cannot be reached. Is it running, and are you connected to its network?');
  } finally {
    if (!held) button.disabled = false;
  }
}

function watchCapsLock(event) {
  if (typeof event.getModifierState === 'function') capsLock.hidden = !event.getModifierState('CapsLock');
}

form.addEventListener('submit', logIn);
password.addEventListener('keydown', watchCapsLock);
password.addEventListener('keyup', watchCapsLock);
password.addEventListener('blur', () => { capsLock.hidden = true; });
show.addEventListener('click', () => {
  const shown = password.type === 'text';
  password.type = shown ? 'password' : 'text';
  show.setAttribute('aria-pressed', String(!shown));
  show.textContent = shown ? 'Show' : 'Hide';
});

// Who is logged in already, or where nobody needs to, goes on at once.
fetch('/api/v1/me').then((response) => {
  if (response.ok) location.replace(next);
}).catch(() => {});
