// Four inversions of unrelated locks: in lambdas of one function, and in methods of one name.
#include <atomic>
#include <mutex>
#include <thread>

static std::atomic<int> turn{0};

template <class Body> static void in_turn(int number, Body body) {
    while (turn.load() != number) std::this_thread::yield();
    body();
    turn.fetch_add(1);
    while (turn.load() < 8) std::this_thread::yield();
}

struct Account {
    std::mutex one, two;
    void forth() { std::lock_guard<std::mutex> outer(one); std::lock_guard<std::mutex> inner(two); }
    void back() { std::lock_guard<std::mutex> outer(two); std::lock_guard<std::mutex> inner(one); }
};

struct Table {
    std::mutex one, two;
    void forth() { std::lock_guard<std::mutex> outer(one); std::lock_guard<std::mutex> inner(two); }
    void back() { std::lock_guard<std::mutex> outer(two); std::lock_guard<std::mutex> inner(one); }
};

int main() {
    auto *account = new Account;
    auto *table = new Table;
    auto *other = new Account;
    auto *third = new Table;
    std::thread threads[] = {
        std::thread([=] { in_turn(0, [=] { account->forth(); }); }),
        std::thread([=] { in_turn(1, [=] { account->back(); }); }),
        std::thread([=] { in_turn(2, [=] { table->forth(); }); }),
        std::thread([=] { in_turn(3, [=] { table->back(); }); }),
        std::thread([=] { in_turn(4, [=] { std::lock_guard<std::mutex> a(other->one); std::lock_guard<std::mutex> b(other->two); }); }),
        std::thread([=] { in_turn(5, [=] { std::lock_guard<std::mutex> a(other->two); std::lock_guard<std::mutex> b(other->one); }); }),
        std::thread([=] { in_turn(6, [=] { std::lock_guard<std::mutex> a(third->one); std::lock_guard<std::mutex> b(third->two); }); }),
        std::thread([=] { in_turn(7, [=] { std::lock_guard<std::mutex> a(third->two); std::lock_guard<std::mutex> b(third->one); }); }),
    };
    for (auto &thread : threads) thread.join();
}
