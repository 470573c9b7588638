// Where a client from the fifth on may be found by its control port's name, without a lock.
//
// A hint is no more than a client's place in memory: the client there says itself which name it has, so one that is out of date, or gave way to
// another, costs a look-up under the lock (`ClientTable.search`). Clients never move and are not freed before the table is, so any that was
// written here once can be looked at.

import CPlatform
import Synchronization

struct ClientHints {
    /// Two for each hash, one beside the other; 0: none, else a `ClientPointer`.
    let places: UnsafeMutablePointer<Atomic<UInt>>

    // Twice two to the power of the bits.
    private static let hashBits: UInt32 = 7
    private static let count = 256

    /// nil: memory is exhausted.
    static func create() -> ClientHints? {
        guard let block = Memory.allocateBytes(count * MemoryLayout<UInt>.stride) else { return nil }
        return ClientHints(places: block.bindMemory(to: Atomic<UInt>.self, capacity: count))
    }

    private init(places: UnsafeMutablePointer<Atomic<UInt>>) { self.places = places }

    @inline(__always)
    init?(_ address: UInt) {
        guard let places = UnsafeMutablePointer<Atomic<UInt>>(bitPattern: address) else { return nil }
        self.places = places
    }

    func destroy() { Memory.free(places) }

    @inline(__always)
    private static func place(_ control: mach_port_t) -> Int {
        Int(truncatingIfNeeded: (control &* 0x9e37_79b1) &>> (32 &- hashBits)) &* 2
    }

    @inline(__always)
    func find(_ control: mach_port_t) -> ClientPointer? {
        let first = places + ClientHints.place(control)
        guard let client = ClientPointer(bitPattern: first.pointee.load(ordering: .acquiring)) else { return nil }
        if client.pointee.control.load(ordering: .acquiring) == control { return client }
        guard let other = ClientPointer(bitPattern: (first + 1).pointee.load(ordering: .acquiring)) else { return nil }
        return other.pointee.control.load(ordering: .acquiring) == control ? other : nil
    }

    /// Locked.
    func note(_ control: mach_port_t, _ client: ClientPointer) {
        let first = places + ClientHints.place(control)
        let before = first.pointee.load(ordering: .relaxed)
        if before != 0 { (first + 1).pointee.store(before, ordering: .releasing) }
        first.pointee.store(UInt(bitPattern: client), ordering: .releasing)
    }
}
