"use strict";
// Light and dark, printing, and reloading of a page that is being renewed.

{
  const choice = document.getElementById("theme");
  const root = document.documentElement;

  const apply = (theme) => {
    if (theme) root.dataset.theme = theme;
    else delete root.dataset.theme;
    tell("theme");
  };

  choice.addEventListener("change", () => {
    remember("theme", choice.value);
    apply(choice.value);
  });
  choice.value = recall("theme", "");
  apply(choice.value);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => tell("theme"));

  const opened = [];
  addEventListener("beforeprint", () => {
    for (const details of document.querySelectorAll("#runs details, #problems details, details.more")) {
      if (!details.open) opened.push(details);
      details.open = true;
    }
    apply("light");
    tell("print");
  });
  addEventListener("afterprint", () => {
    for (const details of opened.splice(0)) details.open = false;
    apply(choice.value);
  });

  const renew = document.getElementById("renew");
  if (renew) {
    renew.checked = recall("renew", true);
    renew.addEventListener("change", () => remember("renew", renew.checked));
    setInterval(() => {
      if (renew.checked && !document.getElementById("dialog").open && !document.hidden) location.reload();
    }, DATA.renewed * 1000);
  }
}
