// Breadth-first search through all worlds that can be reached.
//
// Guarantees:
//   - Every world is visited once and every step from it is taken. The first problem ends the search; since it is
//     breadth-first, its trace is a shortest one.
//   - Progress: every world without a quiet step is at rest (`judgeRest`), and quiet steps lead in no circle. So from
//     every world, whatever order the answers come in, quiet kernels lead to rest.

@testable import Pager

struct SearchResult {
    var states = 0
    var transitions = 0
    var rests = 0
    /// Different states of the page alone, and different questions to the rules.
    var pages: [ModelState] = []
    var questions: [Question] = []
    var effects: [Effects] = []
    /// Readable; nil: all checks hold.
    var failure: String?
}

final class Search {
    private let machine: Machine
    private var symmetry: Symmetry
    private(set) var result = SearchResult()

    private var keys = ContiguousArray<Key>()
    private var parents = ContiguousArray<UInt32>()
    /// Open addressing: the upper half of the key's hash, and below it the world's number + 1; 0: free.
    private var slots: ContiguousArray<UInt64>
    /// The quiet steps' targets, world by world.
    private var quietTargets = ContiguousArray<UInt32>()
    private var quietStarts = ContiguousArray<UInt32>()

    init(_ bounds: Bounds) {
        machine = Machine(bounds)
        symmetry = Symmetry(clients: bounds.clients)
        slots = ContiguousArray(repeating: 0, count: 1 << 20)
    }

    private var start: World {
        var world = World()
        if !machine.bounds.deaths {
            for client in 0..<machine.bounds.clients { world.kernels[client].life = .attached }
        }
        return world
    }

    func run(limit: Int = .max) -> SearchResult {
        _ = number(of: key(start), from: 0)
        var current = 0
        while current < keys.count {
            if !expand(current) { break }
            current += 1
            if keys.count > limit {
                result.failure = "more than \(limit) states"
                break
            }
        }
        if result.failure == nil { findCircle() }
        result.states = keys.count
        result.pages = machine.table.pages
        result.questions = machine.table.questions
        result.effects = machine.table.answers.map(\.effects)
        return result
    }

    /// false: there is a problem.
    private func expand(_ current: Int) -> Bool {
        let world = World(key: keys[current])
        quietStarts.append(UInt32(quietTargets.count))
        var failed: (Step, String)?
        forEachJudgedStep(world) { step, next in
            if failed != nil { return }
            result.transitions += 1
            if let problem = machine.problem {
                failed = (step, problem)
                return
            }
            let target = number(of: key(next), from: current)
            if step.isQuiet { quietTargets.append(UInt32(target)) }
        }
        if let (step, problem) = failed {
            result.failure = problem + "\n" + trace(to: current, and: step)
            return false
        }
        if Int(quietStarts[current]) == quietTargets.count {
            result.rests += 1
            machine.problem = nil
            machine.judgeRest(world)
            if let problem = machine.problem {
                result.failure = problem + "\n" + trace(to: current, and: nil)
                return false
            }
        }
        return true
    }

    @inline(__always)
    private func forEachJudgedStep(_ world: World, _ visit: (Step, World) -> Void) {
        let newest = world.newest
        machine.forEachStep(world) { step, next in
            var expected = newest
            if case .write = step { expected += 1 }
            machine.judge(&next, newest: expected)
            next.rankVersions()
            visit(step, next)
        }
    }

    // The table of worlds.

    private func key(_ world: World) -> Key { symmetry.canonicalKey(world, machine.table) }

    private func number(of key: Key, from parent: Int) -> Int {
        let hash = key.hash >> 32
        var slot = Int(hash) & (slots.count - 1)
        while slots[slot] != 0 {
            if slots[slot] >> 32 == hash {
                let known = Int(slots[slot] & 0xffff_ffff) - 1
                if keys[known] == key { return known }
            }
            slot = (slot + 1) & (slots.count - 1)
        }
        keys.append(key)
        parents.append(UInt32(parent))
        slots[slot] = hash << 32 | UInt64(keys.count)
        if keys.count * 2 > slots.count { growTable() }
        return keys.count - 1
    }

    private func growTable() {
        let old = slots
        slots = ContiguousArray(repeating: 0, count: old.count * 2)
        let mask = slots.count - 1
        for entry in old where entry != 0 {
            var slot = Int(entry >> 32) & mask
            while slots[slot] != 0 { slot = (slot + 1) & mask }
            slots[slot] = entry
        }
    }

    // Progress.

    private func quiet(_ number: Int) -> ContiguousArray<UInt32>.SubSequence {
        let end = number + 1 < quietStarts.count ? Int(quietStarts[number + 1]) : quietTargets.count
        return quietTargets[Int(quietStarts[number])..<end]
    }

    /// Takes away worlds that no quiet step leads to until none is left; what cannot be taken away is on, or behind, a circle.
    private func findCircle() {
        var incoming = ContiguousArray<UInt32>(repeating: 0, count: keys.count)
        for target in quietTargets { incoming[Int(target)] += 1 }
        var ready = ContiguousArray<UInt32>()
        for number in keys.indices where incoming[number] == 0 { ready.append(UInt32(number)) }
        var removed = 0
        while let number = ready.popLast() {
            removed += 1
            for target in quiet(Int(number)) {
                incoming[Int(target)] -= 1
                if incoming[Int(target)] == 0 { ready.append(target) }
            }
        }
        if removed == keys.count { return }
        // Going back among those that are left must meet a world twice.
        var into: [UInt32: UInt32] = [:]
        for number in keys.indices where incoming[number] > 0 {
            for target in quiet(number) where incoming[Int(target)] > 0 { into[target] = UInt32(number) }
        }
        var seen: [UInt32] = []
        var number = UInt32(incoming.firstIndex { $0 > 0 }!)
        while !seen.contains(number) {
            seen.append(number)
            number = into[number]!
        }
        let circle = seen[seen.firstIndex(of: number)!...].reversed()
        var again = ""
        _ = follow([Int(number)] + circle.map { Int($0) }, from: World(key: keys[Int(number)]), &again)
        result.failure = "progress: quiet steps lead in a circle\n" + trace(to: Int(number), and: nil)
            + "then, again and again (clients may be numbered otherwise):\n" + again
    }

    // Traces.

    private func trace(to last: Int, and step: Step?) -> String {
        var path = [last]
        while path[path.count - 1] != 0 { path.append(Int(parents[path[path.count - 1]])) }
        path.reverse()
        var text = ""
        let world = follow(path, from: start, &text)
        if let step {
            // The step was found in the canonical numbering: its like has the same problem.
            var found = false
            forEachJudgedStep(world) { candidate, next in
                if found || machine.problem == nil || candidate.kind != step.kind { return }
                found = true
                text += line(path.count, candidate, next)
            }
        }
        return text
    }

    /// The steps along these worlds, without renumbering anybody on the way. Returns the last world.
    private func follow(_ path: [Int], from first: World, _ text: inout String) -> World {
        var world = first
        for index in path.indices.dropFirst() {
            var found: World?
            forEachJudgedStep(world) { step, next in
                if found == nil && key(next) == keys[path[index]] {
                    found = next
                    text += line(index, step, next)
                }
            }
            world = found!
        }
        return world
    }

    private func line(_ index: Int, _ step: Step, _ world: World) -> String {
        let number = String(index)
        let padded = String(repeating: " ", count: max(0, 3 - number.count)) + number
        let name = "\(step)"
        return "\(padded)  \(name)\(String(repeating: " ", count: max(1, 34 - name.count)))\(world.summary(machine.state(world)))\n"
    }
}
