const aim = this.parentElement, mark = aim.querySelector('.mark');
const width = Number(aim.dataset.width), height = Number(aim.dataset.height);
let x = Number(aim.dataset.x), y = Number(aim.dataset.y);
const field = () => document.querySelector('.' + aim.dataset.field + ' input');
const show = () => {
  mark.setAttribute('cx', x + 0.5);
  mark.setAttribute('cy', y + 0.5);
};
const tell = action => {
  const to = field();
  const number = (Number((to.value || '0').split(' ')[0]) || 0) + 1;
  to.value = [number, action, x, y].join(' ');
  ['input', 'change'].forEach(name => to.dispatchEvent(new Event(name, { bubbles: true })));
};
const move = (right, down) => {
  x = Math.min(width - 1, Math.max(0, x + right));
  y = Math.min(height - 1, Math.max(0, y + down));
  show();
};
const click = (event, action) => {
  event.preventDefault();
  event.stopPropagation();
  const box = aim.getBoundingClientRect();
  x = Math.floor((event.clientX - box.left) / box.width * width);
  y = Math.floor((event.clientY - box.top) / box.height * height);
  move(0, 0);
  tell(action);
};
aim.onclick = event => click(event, event.shiftKey ? 'off' : 'on');
aim.oncontextmenu = event => click(event, 'off');
aim.onkeydown = event => {
  const far = event.shiftKey ? 10 : 1;
  const step = { ArrowLeft: [-far, 0], ArrowRight: [far, 0], ArrowUp: [0, -far],
    ArrowDown: [0, far] }[event.key];
  const action = { Enter: 'on', ' ': 'on', Delete: 'off', Backspace: 'off', u: 'undo',
    U: 'undo' }[event.key];
  if (!step && !action) return;
  event.preventDefault();
  event.stopPropagation();
  if (step) move(...step);
  else tell(action);
};
show();
if (aim.dataset.focus === '1') aim.focus({ preventScroll: true });
