// A lock with its condition, at a fixed address.

import CPlatform

struct Monitor {
    private struct Storage {
        var mutex: platform_mutex_t
        var condition: platform_condition_t
    }

    fileprivate let mutex: UnsafeMutablePointer<platform_mutex_t>
    private let condition: UnsafeMutablePointer<platform_condition_t>

    /// nil: memory is exhausted.
    static func create() -> Monitor? {
        guard let mutex = Memory.allocate(platform_mutex_t.self, 1) else { return nil }
        guard let condition = Memory.allocate(platform_condition_t.self, 1) else {
            Memory.free(mutex)
            return nil
        }
        platform_mutex_init(mutex)
        platform_condition_init(condition)
        return Monitor(mutex: mutex, condition: condition)
    }

    private init(mutex: UnsafeMutablePointer<platform_mutex_t>,
                 condition: UnsafeMutablePointer<platform_condition_t>) {
        self.mutex = mutex
        self.condition = condition
    }

    func destroy() {
        platform_condition_destroy(condition)
        platform_mutex_destroy(mutex)
        Memory.free(condition)
        Memory.free(mutex)
    }

    @inline(__always) func lock() { platform_mutex_lock(mutex) }
    @inline(__always) func unlock() { platform_mutex_unlock(mutex) }

    /// The lock is held. `milliseconds` < 0: no limit. false: the time ran out.
    func wait(_ milliseconds: Int = -1) -> Bool { platform_condition_wait(condition, mutex, milliseconds) == 0 }
    func wakeAll() { platform_condition_wake_all(condition) }
}

extension Monitor {
    /// One more condition of the same lock, for those who need not be woken with everybody.
    struct Condition {
        private let condition: UnsafeMutablePointer<platform_condition_t>

        /// nil: memory is exhausted.
        static func create() -> Condition? {
            guard let condition = Memory.allocate(platform_condition_t.self, 1) else { return nil }
            platform_condition_init(condition)
            return Condition(condition: condition)
        }

        private init(condition: UnsafeMutablePointer<platform_condition_t>) { self.condition = condition }

        func destroy() {
            platform_condition_destroy(condition)
            Memory.free(condition)
        }

        /// The monitor's lock is held. `milliseconds` < 0: no limit.
        func wait(in monitor: Monitor, _ milliseconds: Int = -1) {
            _ = platform_condition_wait(condition, monitor.mutex, milliseconds)
        }
        func wakeAll() { platform_condition_wake_all(condition) }
    }
}
