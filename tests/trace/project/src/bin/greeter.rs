//! Greets, for a test that looks at the output of another process.

fn main() {
    println!("{}", toy::greeting());
}
