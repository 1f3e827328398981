namespace cave {
template <class T>
class Bat {
 public:
  void fly() const { go(); }
  int wings;
};
}
void cave::Bat::land() {}
