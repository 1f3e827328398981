import x from 'x';
/** Late. */
export default class Bat {
  wings = 2;
  fly() { return 1; }
}
export const hunt = async (moth) => {
  eat(moth);
};
const n = 1;
function* roost() {}
