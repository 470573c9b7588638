// The rules, asked once for each different question.
//
// Guarantees:
//   - `step` is `PageProtocol.step` on the plain representation. The search asks the same few thousand questions
//     millions of times, so the answers are kept.
//   - Each new answer is judged by itself (`judgeAnswer`, in StepTable+Checks.swift); a problem is found by the first step
//     of the search that uses the answer.

@testable import Pager

/// What the rules answered, and whom they mean.
struct Answer {
    var page: Int
    var effects: Effects
    /// The answered clients, a bit each.
    var recipients: UInt8
    /// What is wrong with it: its place in `StepTable.problems`, or 0.
    var problem = 0
}

/// A question to the rules: the page's state, by number, and the event with its context.
struct Question: Hashable {
    var page: Int
    var event: Event
    var context: Context

    /// Event and context in one number below `codes`. (`notify` is the same for all questions of a table; only reports have
    /// `hadHolders`, only returns `direct`.)
    var code: Int {
        func code(_ kind: Int, _ who: Int = 0, _ a: Bool = false, _ b: Bool = false) -> Int {
            kind << 6 | who << 4 | (a ? 8 : 0) | (b ? 4 : 0) | (context.direct ? 2 : 0) | (context.sole ? 1 : 0)
        }
        let had = context.hadHolders
        switch event {
        case .request(let client, let write): return code(0, Int(client), write)
        case .unlock(let client): return code(1, Int(client))
        case .returned(let client, let dirty, let keeps): return code(2, Int(client), dirty, keeps)
        case .lockCompleted(let client): return code(3, Int(client))
        case .released(let client): return code(4, Int(client))
        case .clientGone(let client): return code(5, Int(client))
        case .readDone(let error, let lock): return code(6, Failure.number(error), lock, had)
        case .writeDone(let error): return code(7, Failure.number(error), had)
        case .unlockDone(let error, let hasData): return code(8, Failure.number(error), had, hasData)
        case .sent: return code(9, 0, had)
        case .notified: return code(10, 0, had)
        case .writtenBack(let error): return code(11, Failure.number(error))
        case .offered(let client, let write, let lock): return code(12, Int(client), write, lock)
        }
    }

    static let codes = 1 << 10

    func hash(into hasher: inout Hasher) {
        hasher.combine(page)
        hasher.combine(code)
    }
}

/// The errors that callbacks answer in the model.
enum Failure {
    /// A code that the page word cannot say.
    static let odd: Int32 = 5000

    static func number(_ code: Int32) -> Int {
        switch code {
        case 0: return 0
        case Errno.io: return 1
        case odd: return 2
        default: fatalError("the model knows no error \(code)")
        }
    }
}

final class StepTable {
    private(set) var pages: [ModelState] = [ModelState()]
    private var numbers: [ModelState: Int] = [ModelState(): 0]
    /// By page and the question's code; 0: not asked yet, else the answer's number + 1.
    private var asked = ContiguousArray<UInt32>(repeating: 0, count: Question.codes)
    private(set) var answers: ContiguousArray<Answer> = []
    private(set) var problems = ["nothing"]
    private(set) var questions: [Question] = []
    /// What kernels may do.
    private let bounds: Bounds

    init(_ bounds: Bounds) { self.bounds = bounds }

    func step(_ page: Int, _ event: Event, _ context: Context) -> Answer {
        let question = Question(page: page, event: event, context: context)
        let place = page * Question.codes + question.code
        let known = asked[place]
        if known != 0 { return answers[Int(known) - 1] }

        let before = pages[page]
        var after = before
        var answer = Answer(page: page, effects: .nothing, recipients: 0)
        var problem = StepTable.precondition(before, event)
        if problem == nil {
            let effects = PageProtocol.step(&after, event, context)
            answer.page = number(of: after)
            answer.effects = effects
            for client in StepTable.recipients(before, effects) { answer.recipients |= 1 << client }
            problem = StepTable.judgeAnswer(before, event, context, effects, after, StepTable.queueAsServed(before, event, context), bounds)
        }
        if let problem {
            problems.append(problem)
            answer.problem = problems.count - 1
        }
        answers.append(answer)
        questions.append(question)
        asked[place] = UInt32(answers.count)
        return answer
    }

    func number(of state: ModelState) -> Int {
        if let number = numbers[state] { return number }
        pages.append(state)
        asked.append(contentsOf: repeatElement(0, count: Question.codes))
        numbers[state] = pages.count - 1
        return pages.count - 1
    }

    /// The queue as it ought to be served: without a client that is gone, with the one that asks. (An unlock that crossed a
    /// flush is answered by it, and one by a client without the page is refused.)
    static func queueAsServed(_ before: ModelState, _ event: Event, _ context: Context = Context()) -> [Waiter] {
        var state = before
        switch event {
        case .request(let client, let write):
            // Where pages are offered, a client that may have what it asks for waits anew, as a reader, while the page is busy.
            let access = before.access(of: client)
            let mayHave = context.isOffered && before.activity != .idle
                && (access == .read || access == .write && before.activity != .flushing && before.activity != .pagingIn)
            if mayHave { state.removeWaiter(client) }
            state.enqueue(Waiter(client: client, write: write && !mayHave))
        case .unlock(let client):
            // (One that waits as a reader beside what it has is flushed first, which answers its unlock; one that is alone and to be given the
            // page has lost it since it asked.)
            let access = before.access(of: client), asked = before.queue.contains { $0.client == client && !$0.write }
            if !asked && (access == .read || (access == .write && before.activity != .flushing && before.activity != .pagingIn)) {
                state.enqueue(Waiter(client: client, write: true))
            }
        case .clientGone(let client): state.removeWaiter(client)
        default: break
        }
        return state.queue
    }

    /// The answered clients, as the service reads the effects.
    static func recipients(_ before: ModelState, _ effects: Effects) -> [ClientNumber] {
        if effects.client != noClient { return [effects.client] }
        return before.queue.map(\.client).filter { $0 != effects.without }.prefix(effects.count).map { $0 }
    }

    /// The rules' own assertions, as answers: so that a trace can be printed.
    private static func precondition(_ state: ModelState, _ event: Event) -> String? {
        let required: [Activity]
        switch event {
        case .readDone: required = [.pagingIn]
        case .writeDone: required = [.pagingOut]
        case .unlockDone(_, let hasData):
            if hasData && (!state.isAccessEmpty || state.isHeld) { return "owner: data are at hand, and newer ones elsewhere" }
            required = [.unlocking]
        case .sent: required = [.sending, .pagingIn]
        case .notified: required = [.notifying]
        case .writtenBack: return state.isHeld ? nil : "owner: a version was written that the page does not hold"
        default: return nil
        }
        return required.contains(state.activity) ? nil : "owner: \(event) while the page is \(state.activity)"
    }
}
