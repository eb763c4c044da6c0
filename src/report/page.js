(function () {
  "use strict";
  var tip = document.getElementById("tip");
  function show(mark, x, y) {
    tip.textContent = mark.getAttribute("data-tip");
    tip.hidden = false;
    var w = tip.offsetWidth, h = tip.offsetHeight;
    tip.style.left = Math.max(4, Math.min(x + 14, innerWidth - w - 6)) + "px";
    tip.style.top = (y + 18 + h > innerHeight ? Math.max(4, y - h - 12) : y + 18) + "px";
  }
  function hide() { tip.hidden = true; }
  document.querySelectorAll(".pt").forEach(function (mark) {
    // The browser's own late tooltip would lie over ours.
    var title = mark.querySelector("title");
    if (title) { title.remove(); }
    mark.addEventListener("pointermove", function (e) { show(mark, e.clientX, e.clientY); });
    mark.addEventListener("pointerleave", hide);
    mark.addEventListener("blur", hide);
    mark.addEventListener("focus", function () {
      var box = mark.getBoundingClientRect();
      show(mark, box.left + box.width / 2, box.top + box.height / 2);
    });
  });
  document.addEventListener("keydown", function (e) { if (e.key === "Escape") { hide(); } });

  function selectText(node) {
    var range = document.createRange();
    range.selectNodeContents(node);
    var selection = getSelection();
    selection.removeAllRanges();
    selection.addRange(range);
  }
  document.querySelectorAll(".copy").forEach(function (button) {
    button.addEventListener("click", function () {
      var pre = button.parentNode.querySelector("pre");
      function done(ok) {
        button.textContent = ok ? "Copied" : "Press Ctrl-C";
        setTimeout(function () { button.textContent = "Copy"; }, 1600);
      }
      function byHand() {
        selectText(pre);
        var ok = false;
        try { ok = document.execCommand("copy"); } catch (e) { ok = false; }
        done(ok);
      }
      // A page from a file has the clipboard in some browsers only.
      if (navigator.clipboard && window.isSecureContext) {
        navigator.clipboard.writeText(pre.textContent).then(function () { done(true); }, byHand);
      } else { byHand(); }
    });
  });

  var select = document.getElementById("engine");
  if (select) {
    select.addEventListener("change", function () {
      document.querySelectorAll("[data-engine]").forEach(function (e) {
        e.classList.toggle("off", select.value !== "" && e.getAttribute("data-engine") !== select.value);
      });
    });
  }

  // What is folded is on paper too.
  var opened = [];
  addEventListener("beforeprint", function () {
    document.querySelectorAll("details:not([open])").forEach(function (d) { d.open = true; opened.push(d); });
  });
  addEventListener("afterprint", function () {
    opened.forEach(function (d) { d.open = false; });
    opened = [];
  });
})();
