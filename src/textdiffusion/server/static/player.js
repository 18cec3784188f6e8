// Which moment is shown: slider, steps, speed, and moments that are still to come.
const STILL = matchMedia("(prefers-reduced-motion: reduce)");

export class Player {
  // `show(index)` draws a moment and says what it is.
  constructor(parent, show) {
    parent.append(document.getElementById("player").content.cloneNode(true));
    this.root = parent.querySelector(".player");
    this.show = show;
    this.part = Object.fromEntries([...this.root.querySelectorAll("[data-do]")].map(one => [one.dataset.do, one]));
    this.slider = this.root.querySelector("[type=range]");
    this.status = this.root.querySelector("[data-place=status]");
    this.part.back.onclick = () => this.step(-1);
    this.part.next.onclick = () => this.step(1);
    this.part.play.onclick = () => this.playing ? this.pause() : this.play();
    this.part.speed.onchange = () => { if (this.playing) this.play(); };
    this.slider.oninput = () => this.go(Number(this.slider.value));
    this.load([]);
  }

  // Moments that are all there, shown from `at` on.
  load(times, at = times.length - 1) {
    this.pause();
    Object.assign(this, { times, planned: 0, live: false, at: -1 });
    this.draw(at);
  }

  // More moments will come; they are shown as they do, or at the speed that is set.
  begin() {
    this.live = true;
    if (!STILL.matches) this.play();
  }

  grow(times, planned) {
    Object.assign(this, { times, planned });
    if (!this.playing) {
      this.draw(Math.max(0, this.at));
      const more = this.top - this.at;
      if (more) this.status.textContent = `${this.said}; ${more} more step${more === 1 ? " has" : "s have"} come`;
    } else if (!this.pace) this.draw(times.length - 1);
    else if (this.timer === null) {
      if (this.at < 0) this.draw(0);
      this.next();
    }
  }

  // No more will come; at a set speed the rest is still played.
  end() {
    const plays = this.playing && this.pace && this.at < this.top, stays = !this.playing && !STILL.matches;
    this.live = false;
    if (plays) return;
    this.pause();
    this.draw(stays ? this.at : this.top, true);
  }

  get pace() { return Number(this.part.speed.value); }
  get top() { return this.times.length - 1; }

  play() {
    clearTimeout(this.timer);
    this.timer = null;
    this.turn(true);
    if (!this.live && this.at >= this.top) this.draw(0);
    if (this.live && !this.pace && this.top >= 0) this.draw(this.top);
    this.next();
  }

  // The next moment, when its time comes.
  next() {
    if (this.at >= this.top) return this.live ? undefined : this.pause();
    const measured = 1000 * (this.times[this.at + 1] - (this.times[this.at] ?? 0));
    this.timer = setTimeout(() => {
      this.timer = null;
      this.draw(this.at + 1);
      this.next();
    }, this.pace ? 1000 / this.pace : Math.max(0, measured));
  }

  pause() {
    clearTimeout(this.timer);
    this.timer = null;
    this.turn(false);
  }

  turn(playing) {
    this.playing = playing;
    this.part.play.textContent = playing ? "Pause" : "Play";
    this.part.play.setAttribute("aria-pressed", String(playing));
  }

  step(by) { this.go(this.at + by); }

  go(index) {
    this.pause();
    this.draw(index);
  }

  draw(index, anew = false) {
    const at = Math.max(0, Math.min(this.top, index));
    this.root.hidden = this.top < 0;
    this.slider.max = Math.max(0, this.top, this.live ? this.planned - 1 : 0);
    this.slider.value = at;
    this.part.back.disabled = at <= 0;
    this.part.next.disabled = at >= this.top;
    if (this.top < 0 || (at === this.at && !anew)) return;
    this.at = at;
    this.said = this.status.textContent = this.show(at);
    this.slider.setAttribute("aria-valuetext", this.said);
  }
}
