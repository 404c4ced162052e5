// Loaded in <head> as a classic script, so that the page is never painted in the wrong theme first.
// Kept under "theme" in this browser: "light", "dark", or nothing for what the system says.
(() => {
  let theme = null;
  try {
    theme = localStorage.getItem('theme');
  } catch {
    // A browser that keeps nothing shows the system's theme.
  }
  if (theme === 'light' || theme === 'dark') document.documentElement.dataset.theme = theme;
})();
