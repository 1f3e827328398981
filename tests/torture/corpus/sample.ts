namespace Cave {
  export interface Bat { wings: number }
  export abstract class Owl { hunt(): void {} }
}
type Moth = string;
enum Hour { Late }
