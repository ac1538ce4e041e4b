fn main() {
    println!("{:?}", frames::Connection::default());
}
