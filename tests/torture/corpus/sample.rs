use a;
/// Late.
#[derive(Debug)]
struct Bat<T> { n: T }
impl<T> Fly for Bat<T> {
    fn fly(&self) {}
}
mod tests {
    #[test]
    fn flies() {}
}
