// A link to a cell opens it.

const open = () => {
  const cell = document.getElementById(location.hash.slice(1))
    ?? document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (cell instanceof HTMLDetailsElement) {
    cell.open = true;
    cell.scrollIntoView();
  }
};
addEventListener("hashchange", open);
open();
