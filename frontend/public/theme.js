// Runs before the first paint, so that a chosen theme does not flash. Without a choice the system's theme holds.
try {
  var theme = localStorage.getItem('tapelab.theme');
  if (theme === 'light' || theme === 'dark') document.documentElement.dataset.theme = theme;
} catch (error) {
  // A browser that forbids storage keeps the system's theme.
}
