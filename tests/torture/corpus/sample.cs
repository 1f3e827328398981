using A;
namespace Cave {
  class Bat {
    int Wings { get; }
    void Fly() {}
  }
}
