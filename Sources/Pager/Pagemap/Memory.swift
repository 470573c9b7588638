// Typed access to the platform's memory.
//
// Guarantees: a block is zeroed and aligned to 16 bytes; nil means that memory is exhausted and nothing
// was changed. Only trivial types are stored in it, or types for which all zeros is a valid value
// (an `Atomic` of an integer).

import CPlatform

enum Memory {
    /// What to do when memory is exhausted.
    enum Exhaustion: UInt8 {
        /// Answer nil.
        case fails
        /// For state that must not be lost: wait until there is some. The answer is never nil.
        case waits
    }

    @inline(__always)
    static func allocateBytes(_ size: Int, _ exhaustion: Exhaustion = .fails) -> UnsafeMutableRawPointer? {
        switch exhaustion {
        case .fails: return platform_allocate(size)
        case .waits: return platform_allocate_waiting(size)
        }
    }

    @inline(__always)
    static func allocate<T: ~Copyable>(_ type: T.Type, _ count: Int,
                                       _ exhaustion: Exhaustion = .fails) -> UnsafeMutablePointer<T>? {
        allocateBytes(MemoryLayout<T>.stride * count, exhaustion)?.bindMemory(to: T.self, capacity: count)
    }

    @inline(__always)
    static func free<T: ~Copyable>(_ pointer: UnsafeMutablePointer<T>?) {
        platform_free(UnsafeMutableRawPointer(pointer))
    }
}
