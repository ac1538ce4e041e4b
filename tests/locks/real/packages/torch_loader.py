# needs: torch
"""PyTorch's DataLoader: worker processes, a thread that takes their batches, a small model."""

import torch
from torch.utils.data import DataLoader, Dataset


class Numbers(Dataset):
    def __len__(self):
        return 256

    def __getitem__(self, number):
        return torch.full((16,), float(number)), torch.tensor(number % 2)


def main():
    torch.manual_seed(0)
    torch.set_num_threads(2)
    total = 0.0
    model = torch.nn.Linear(16, 2)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-6)
    for workers in (0, 2, 3):
        loader = DataLoader(
            Numbers(), batch_size=16, num_workers=workers, persistent_workers=workers > 0
        )
        for _ in range(2):
            for inputs, labels in loader:
                loss = torch.nn.functional.cross_entropy(model(inputs), labels)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                total += float(inputs.sum())
    print(total)


if __name__ == "__main__":
    main()
