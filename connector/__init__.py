"""The core of winback: model, rules, plan, apply and journal. It knows no provider by name."""
