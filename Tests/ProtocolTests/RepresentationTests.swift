// The word, the scratch state, the descriptor and the plain model say the same.
//
// Guarantee: for every question to the rules that the searches asked (page state, event, context), under every
// renumbering of the clients, and once more with numbers that no word has room for:
//   - the effects and the state afterwards are the same in every representation that can express the state before;
//   - a word gives up (`overflowed`) only where the state afterwards, or one on the way to it, does not fit;
//   - going through a word or a descriptor and back changes nothing.

import XCTest
@testable import Pager

final class RepresentationTests: XCTestCase {
    private var table: DescriptorTable!
    private var failures = 0
    private var direct = 0, overflowed = 0, overflowedOnTheWay = 0, described = 0

    override func setUp() {
        table = DescriptorTable.create()
        XCTAssertTrue(table.reserve(clients: 16))
    }

    override func tearDown() { table.destroy() }

    func testRepresentationsAgree() {
        var asked: Set<Asked> = []
        for entry in Explored.all {
            for question in entry.result.questions {
                asked.insert(Asked(before: entry.result.pages[question.page], question: question))
            }
        }
        for one in asked {
            for renumbering in Renumbering.all(World.maximumClients) + [Renumbering(order: [2, 0, 1], offset: 3)] {
                compare(renumbering(one.before), renumbering(one.question.event), one.question.context)
                if failures > 10 { return }
            }
        }
        XCTAssertEqual(table.statistics.live, 0, "descriptors leak")
        print("\(asked.count) questions: \(direct) answered in the word, \(overflowed) overflowed it "
            + "(\(overflowedOnTheWay) only on the way), \(described) began with a descriptor")
        XCTAssertTrue(direct > 0 && overflowed > 0 && described > 0)
    }

    private struct Asked: Hashable {
        var before: ModelState
        var question: Question

        static func == (a: Asked, b: Asked) -> Bool {
            a.before == b.before && a.question.event == b.question.event && a.question.context == b.question.context
        }
        func hash(into hasher: inout Hasher) {
            hasher.combine(before)
            hasher.combine(question.code)
        }
    }

    private func compare(_ before: ModelState, _ event: Event, _ context: Context) {
        var after = before
        let effects = PageProtocol.step(&after, event, context)
        func check(_ what: String, _ otherEffects: Effects, _ other: ModelState) {
            if otherEffects == effects && other == after { return }
            failures += 1
            XCTFail("\(what): {\(before)} \(event) \(context)\n  gives {\(other)} \(otherEffects)\n  not   {\(after)} \(effects)")
        }

        var word: Word?
        if before.fitsWord {
            var state = WordState(.resting)
            before.write(to: &state)
            word = state.word
            let otherEffects = PageProtocol.step(&state, event, context)
            if state.overflowed {
                overflowed += 1
                if after.fitsWord { overflowedOnTheWay += 1 }
            } else {
                direct += 1
                check("word", otherEffects, read(state))
            }
        }

        var scratch = table.scratch
        scratch.reset()
        before.write(to: &scratch)
        let stored = table.storeWaiting(scratch)
        if stored.isDescriptor == before.fitsWord || (word != nil && stored != word) {
            failures += 1
            XCTFail("{\(before)} is stored as \(String(stored.raw, radix: 16))")
        }
        if stored.isDescriptor { described += 1 }
        table.load(stored, into: scratch)
        table.release(stored)
        if read(scratch) != before {
            failures += 1
            XCTFail("{\(before)} comes back as {\(read(scratch))}")
        }
        check("scratch", PageProtocol.step(&scratch, event, context), read(scratch))

        let storedAfter = table.storeWaiting(scratch)
        if storedAfter.isDescriptor == after.fitsWord { XCTFail("{\(after)} is stored in the wrong form") }
        table.load(storedAfter, into: scratch)
        table.release(storedAfter)
        check("stored", effects, read(scratch))
    }

    private func read(_ state: WordState) -> ModelState {
        ModelState(reading: state, clients: 4, queue: (0..<state.queueCount).map { state.waiter(at: $0) })
    }

    private func read(_ state: ScratchState) -> ModelState {
        ModelState(reading: state, clients: 16, queue: (0..<state.queueCount).map { state.waiter(at: $0) })
    }
}
