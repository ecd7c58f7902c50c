// Dark, light, or as the system says. Kept in this browser.

const KEY = 'chatmux-theme';
const NEXT = { auto: 'light', light: 'dark', dark: 'auto' };

const known = (word) => (Object.hasOwn(NEXT, word ?? '') ? word : 'auto');

function put(theme) {
  document.documentElement.dataset.theme = theme;
  localStorage.setItem(KEY, theme);
  document.querySelector('#theme-name').textContent = theme;
}

put(known(localStorage.getItem(KEY)));
document.querySelector('#theme').addEventListener('click', () => {
  put(NEXT[known(document.documentElement.dataset.theme)]);
});
