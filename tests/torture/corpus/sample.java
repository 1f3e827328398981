package a;
/** Late. */
public class Bat {
  Bat() {}
  @Override
  public int wings() { return 2; }
}
