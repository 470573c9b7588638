// The high half of the port name space: four names for each memory object, for its first four clients.
//
// Object i has the names 0x80000000 + 4 i to + 3. After 2^28 objects the numbers begin again; should an old object
// still have the name that a new one wants, renaming fails and the new client is looked up instead.

import CPlatform
import Synchronization

enum ObjectNumbers {
    static let lowestName: mach_port_t = 0x8000_0000
    private static let count: UInt32 = 1 << 28
    private static let next = Atomic<UInt32>(0)

    /// The lowest of the next object's four names.
    static func take() -> mach_port_t {
        lowestName + 4 * (next.wrappingAdd(1, ordering: .relaxed).oldValue % count)
    }
}
