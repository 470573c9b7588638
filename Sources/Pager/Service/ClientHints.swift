// Where a client from the fifth on may be found by its control port's name, without a lock.
//
// A hint is a number and no more: the client with that number says itself which name it has, so one that is out of date, or gave way to another,
// costs a look-up under the lock (`ClientTable.search`). Clients never move and are never freed, so any number that was written here once can
// be looked at.

import CPlatform
import Synchronization

struct ClientHints {
    /// Two places for each hash, one beside the other; 0: none, else the client's number.
    let numbers: UnsafeMutablePointer<Atomic<UInt32>>

    // Twice two to the power of the bits.
    private static let hashBits: UInt32 = 7
    private static let count = 256

    /// nil: memory is exhausted.
    static func create() -> ClientHints? {
        guard let block = Memory.allocateBytes(count * MemoryLayout<UInt32>.stride) else { return nil }
        return ClientHints(numbers: block.bindMemory(to: Atomic<UInt32>.self, capacity: count))
    }

    private init(numbers: UnsafeMutablePointer<Atomic<UInt32>>) { self.numbers = numbers }

    @inline(__always)
    init?(_ address: UInt) {
        guard let numbers = UnsafeMutablePointer<Atomic<UInt32>>(bitPattern: address) else { return nil }
        self.numbers = numbers
    }

    func destroy() { Memory.free(numbers) }

    @inline(__always)
    private static func place(_ control: mach_port_t) -> Int {
        Int(truncatingIfNeeded: (control &* 0x9e37_79b1) &>> (32 &- hashBits)) &* 2
    }

    @inline(__always)
    func find(_ control: mach_port_t, _ clients: ClientTable) -> ClientPointer? {
        let place = ClientHints.place(control)
        let first = numbers[place].load(ordering: .acquiring)
        if first == 0 { return nil }
        let client = clients.client(first)
        if client.pointee.control.load(ordering: .acquiring) == control { return client }
        let second = numbers[place + 1].load(ordering: .acquiring)
        if second == 0 { return nil }
        let other = clients.client(second)
        return other.pointee.control.load(ordering: .acquiring) == control ? other : nil
    }

    /// Locked.
    func note(_ control: mach_port_t, _ number: ClientNumber) {
        let place = ClientHints.place(control)
        let first = numbers[place].load(ordering: .relaxed)
        if first != 0 { numbers[place + 1].store(first, ordering: .releasing) }
        numbers[place].store(number, ordering: .releasing)
    }
}
