// Worlds that differ only in the clients' numbers are one.
//
// Guarantees: `canonicalKey` is the same for all renumberings of a world, and is the key of one of them. The rules treat
// all clients alike (the representation test asks every question under every renumbering), so nothing is lost.

@testable import Pager

/// A renumbering: the client that becomes number i is `order[i]`.
struct Renumbering {
    let order: [Int]
    /// Added to each number; only for states that are looked at by themselves.
    var offset = 0

    static func all(_ clients: Int) -> [Renumbering] {
        func orders(_ rest: [Int]) -> [[Int]] {
            if rest.isEmpty { return [[]] }
            return rest.flatMap { first in orders(rest.filter { $0 != first }).map { [first] + $0 } }
        }
        return orders(Array(0..<clients)).map { Renumbering(order: $0) }
    }

    func callAsFunction(_ client: ClientNumber) -> ClientNumber {
        client == noClient ? noClient : ClientNumber(order.firstIndex(of: Int(client))! + offset)
    }

    func callAsFunction(_ mask: UInt8) -> UInt8 {
        var result: UInt8 = 0
        for index in order.indices where mask >> order[index] & 1 != 0 { result |= 1 << index }
        return result
    }

    func callAsFunction(_ state: ModelState) -> ModelState {
        var renumbered = ModelState()
        state.write(to: &renumbered) { self($0) }
        return renumbered
    }

    func callAsFunction(_ event: Event) -> Event {
        switch event {
        case .request(let client, let write): return .request(self(client), write: write)
        case .unlock(let client): return .unlock(self(client))
        case .returned(let client, let dirty, let keeps): return .returned(self(client), dirty: dirty, keepsCopy: keeps)
        case .lockCompleted(let client): return .lockCompleted(self(client))
        case .released(let client): return .released(self(client))
        case .clientGone(let client): return .clientGone(self(client))
        case .offered(let client, let write, let lock): return .offered(self(client), write: write, writeLock: lock)
        case .readDone, .writeDone, .unlockDone, .sent, .notified, .writtenBack: return event
        }
    }
}

struct Symmetry {
    private let renumberings: [Renumbering]
    /// Numbers of renumbered pages: by renumbering and page; -1: not known yet.
    private var pages: [[Int]]

    init(clients: Int) {
        renumberings = Renumbering.all(clients)
        pages = renumberings.map { _ in [] }
    }

    mutating func canonicalKey(_ world: World, _ table: StepTable) -> Key {
        if renumberings.count == 1 { return world.key }
        var best: Key?
        for index in renumberings.indices {
            if !isSorted(world, renumberings[index]) { continue }
            let key = index == 0 ? world.key : renumbered(world, index, table).key
            if best == nil || key < best.unsafelyUnwrapped { best = key }
        }
        return best!
    }

    /// Only renumberings that put the kernels in order are candidates; often there is one.
    private func isSorted(_ world: World, _ renumbering: Renumbering) -> Bool {
        for index in 1..<renumbering.order.count {
            let a = world.kernels[renumbering.order[index - 1]], b = world.kernels[renumbering.order[index]]
            if a.channel != b.channel {
                if a.channel > b.channel { return false }
            } else if a.bits > b.bits {
                return false
            }
        }
        return true
    }

    private mutating func renumbered(_ world: World, _ index: Int, _ table: StepTable) -> World {
        let renumbering = renumberings[index]
        var result = world
        for client in renumbering.order.indices { result.kernels[client] = world.kernels[renumbering.order[client]] }
        result.owner.recipients = renumbering(world.owner.recipients)
        result.owner.unsent = renumbering(world.owner.unsent)
        while pages[index].count <= world.page { pages[index].append(-1) }
        if pages[index][world.page] < 0 { pages[index][world.page] = table.number(of: renumbering(table.pages[world.page])) }
        result.page = pages[index][world.page]
        return result
    }
}
