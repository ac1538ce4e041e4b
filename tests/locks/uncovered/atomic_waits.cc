// A semaphore of C++20 as a lock, beside a mutex: it is made of an atomic and futex(2).
#include <mutex>
#include <semaphore>
#include <thread>

static std::binary_semaphore slot(1);
static std::mutex table;

static void work() {
    slot.acquire();
    {
        std::lock_guard<std::mutex> guard(table);
    }
    slot.release();
}

int main() {
    std::thread other(work);
    work();
    other.join();
}
