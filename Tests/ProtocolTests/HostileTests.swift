// Kernels that do not keep to the protocol.
//
// Guarantee: in every page state that the searches reached, any message of any client, also of one that was never
// there, leaves a state in which P1-P4 hold and the queue is in order; answers go to clients that wait; dirty data is
// taken only from a client that may write; a client without the page changes nothing by unlocking or returning it.

import XCTest
@testable import Pager

final class HostileTests: XCTestCase {
    private var failures = 0

    func testAnyMessageInAnyState() {
        var pages: Set<ModelState> = []
        for entry in Explored.all { pages.formUnion(entry.result.pages) }
        var steps = 0
        for page in pages {
            for client in 0..<ClientNumber(World.maximumClients) {
                for event in messages(client) {
                    for flags in 0..<4 {
                        steps += 1
                        judge(page, event, client, Context(notify: flags & 1 != 0, direct: flags & 2 != 0))
                        if failures > 10 { return }
                    }
                }
            }
        }
        print("\(pages.count) page states, \(steps) messages")
    }

    private func messages(_ client: ClientNumber) -> [Event] {
        var events: [Event] = [.request(client, write: false), .request(client, write: true), .unlock(client),
                               .lockCompleted(client), .clientGone(client), .released(client)]
        for flags in 0..<4 { events.append(.returned(client, dirty: flags & 1 != 0, keepsCopy: flags & 2 != 0)) }
        return events
    }

    private func judge(_ before: ModelState, _ event: Event, _ client: ClientNumber, _ context: Context) {
        var after = before
        let effects = PageProtocol.step(&after, event, context)
        var problem = StepTable.judgeAnyAnswer(before, event, effects, after, StepTable.queueAsServed(before, event))
        let access = before.access(of: client)
        if case .returned(_, let dirty, _) = event {
            let taken = effects.data == .store || effects.action == .write
            if taken && dirty && access != .write { problem = problem ?? "refused: not, though a reader sends dirty data" }
            if taken && access == .none { problem = problem ?? "refused: not, though the client has no page" }
            if access == .none && (after != before || effects.refusal != .returnWithoutPage) {
                problem = problem ?? "refused: a page came from a client that has none, and something changed"
            }
        }
        if event == .unlock(client) && access == .none && (after != before || effects.refusal != .unlockWithoutPage) {
            problem = problem ?? "refused: an unlock by a client that has no page, and something changed"
        }
        if let problem {
            failures += 1
            XCTFail("\(problem)\n  {\(before)} \(event) \(context)\n  gives {\(after)} \(effects)")
        }
    }
}
